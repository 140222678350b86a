"use strict";
(function slider() {
  const source = document.getElementById("slides");
  if (!source) return;
  const slides = JSON.parse(source.textContent);
  const range = document.getElementById("when");
  const sheet = document.getElementById("sheet");
  const label = document.getElementById("label");
  const play = document.getElementById("play");
  let timer = 0;
  function show() {
    const slide = slides[Number(range.value)];
    sheet.src = slide[1];
    label.textContent = slide[0];
  }
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "▶";
  }
  range.max = String(slides.length - 1);
  range.addEventListener("input", () => { stop(); show(); });
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(range.value) >= slides.length - 1) range.value = "0";
    play.textContent = "❚❚";
    show();
    timer = setInterval(() => {
      if (Number(range.value) >= slides.length - 1) return stop();
      range.value = String(Number(range.value) + 1);
      show();
    }, 500);
  });
  // A browser that reloads the page puts the slider where it was, without telling.
  show();
})();

for (const svg of document.querySelectorAll("svg[data-chart]")) {
  const chart = JSON.parse(svg.dataset.chart);
  const readout = svg.parentElement.querySelector(".readout");
  const cursor = svg.querySelector(".cursor");
  function nearest(points, x) {
    return points.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best));
  }
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const across = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const kimg = chart.low + ((across - chart.left) / (chart.right - chart.left)) * (chart.high - chart.low);
    const found = chart.series.map((series) => nearest(series.points, kimg));
    const x = chart.left + ((found[0][0] - chart.low) / (chart.high - chart.low)) * (chart.right - chart.left);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.setAttribute("visibility", "visible");
    const values = chart.series.map((series, index) => series.label + " " + found[index][1]);
    readout.textContent = found[0][0] + " kimg: " + values.join(", ");
  });
  svg.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    readout.textContent = "\u00a0";
  });
}
