"""Several processes train as one does, end together, and write once. On the CPU, over gloo."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from stylegan_fast.distributed import ALONE, joined_ranks
from stylegan_fast.errors import UserError
from stylegan_fast.training.config import TrainConfig, schedule_of
from tests.command_lines import TINY, call, write_network
from tests.ranks import finish, start_ranks
from tests.runs import rows
from tests.training import one_step_of_ranks, silent_train


def test_alone_there_is_nothing_to_agree_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with joined_ranks() as ranks:
        assert ranks == ALONE
    tensor = torch.ones(3)
    ALONE.mean_([tensor])
    assert tensor.tolist() == [1, 1, 1]
    assert (ALONE.largest(3), ALONE.shared("x"), ALONE.gathered(5), ALONE.first) == (3, "x", [5], True)
    assert ALONE.device(torch.device("cuda")) == torch.device("cuda")


def test_two_ranks_have_the_gradients_and_weights_of_one_process(tmp_path: Path) -> None:
    inputs = tmp_path / "inputs.pt"
    one_step_of_ranks.write_inputs(inputs, 16)
    alone = one_step_of_ranks.step(inputs, ALONE)
    ended = finish(start_ranks([one_step_of_ranks.__file__, str(inputs), str(tmp_path / "out")]))
    assert [status for status, _, _ in ended] == [0, 0], ended
    found = [torch.load(tmp_path / f"out.{rank}", weights_only=True) for rank in (0, 1)]
    for name, value in alone.items():
        assert torch.equal(found[0][name], found[1][name]), name  # the networks stay the same everywhere
        if name.startswith("grad.") or name == "G.mapping.w_avg":
            error = (found[0][name] - value).abs().max()
            assert error <= 1e-5 * max(value.abs().max(), 1e-2), f"{name}: {error}"


def train(options: str, outdir: Path) -> list:
    arguments = f"-m stylegan_fast.train {options} --device cpu --cache-dir {outdir}/cache --outdir {outdir}"
    return start_ranks(arguments.split())


def test_a_killed_rank_ends_the_job_with_a_message_and_one_process_goes_on_from_there(tmp_path: Path) -> None:
    run = tmp_path / "00000-faces_40-16"
    job = train(f"{TINY} --kimg 100 --tick 0.02 --snap 1", tmp_path)
    try:
        end = time.monotonic() + 240
        while not ((run / "state.pt").exists() and len(rows(run)) >= 2):
            assert time.monotonic() < end
            assert all(process.poll() is None for process in job), finish(job)
            time.sleep(0.02)
        job[1].send_signal(signal.SIGKILL)
        killed_at = time.monotonic()
    finally:
        (status, _, err), (killed, _, _) = finish(job, timeout=60)
    assert time.monotonic() - killed_at < 60
    assert (status, killed) == (2, -signal.SIGKILL)
    assert "Traceback" not in err
    assert re.search(r"error: rank 0: another process of the job was lost .*--resume", err.splitlines()[-1])
    assert "stopped at" in (run / "log.txt").read_text().splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000-faces_40-16", "cache"]  # one run, written once
    assert all(row["batch"] == 4 for row in rows(run))

    reached = torch.load(run / "state.pt", weights_only=True)["position"]["images"]
    kimg = reached / 1000 + 0.05
    assert call("train", f"--resume {run} --kimg {kimg} --device cpu") == 0
    assert "2 processes before, 1 now" in (run / "log.txt").read_text()
    images = [row["images"] for row in rows(run)]
    assert images == sorted(set(images))
    assert images[-1] >= kimg * 1000


def test_a_silent_rank_ends_the_job_though_no_connection_breaks(tmp_path: Path) -> None:
    options = f"{TINY} --kimg 100 --tick 0.02 --snap 1 --device cpu --cache-dir {tmp_path}/cache --outdir {tmp_path}"
    job = start_ranks([silent_train.__file__, *options.split()])
    try:
        ((status, _, err),) = finish(job[:1], timeout=120)
    finally:
        job[1].kill()
        finish(job[1:])
    assert status == 2
    assert re.search(r"error: rank 0: another process of the job was lost .*--resume", err.splitlines()[-1])
    assert (tmp_path / "00000-faces_40-16" / "state.pt").exists()


@pytest.mark.slow
def test_a_run_of_one_process_goes_on_with_two(tmp_path: Path) -> None:
    options = f"{TINY} --kimg 0.05 --tick 0.02"
    assert call("train", f"{options} --cache-dir {tmp_path}/cache --outdir {tmp_path}") == 0
    ended = finish(train("--resume latest --kimg 0.1", tmp_path))
    assert [status for status, _, _ in ended] == [0, 0], ended
    assert ended[1][1] == ""  # rank 0 alone speaks
    run = tmp_path / "00000-faces_40-16"
    assert rows(run)[-1]["images"] == 112
    assert torch.load(run / "state.pt", weights_only=True)["ranks"] == 2
    assert "1 processes before, 2 now" in ended[0][1]


def test_a_mistake_is_told_by_every_rank_and_none_hangs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fewer images a step than the 2 processes"):
        schedule_of(TrainConfig(batch=1), 16, 2)
    for status, _, err in finish(train("--resume latest", tmp_path / "nothing")):
        assert status == 2
        assert "--resume latest: no run" in err.splitlines()[-1]


def test_generate_shares_the_seeds_out_and_draws_the_same_pictures(tmp_path: Path) -> None:
    network = write_network(tmp_path / "network-000000.safetensors")
    options = f"--network {network} --seeds 0-4,9 --grid --device cpu --outdir"
    assert call("generate", f"{options} {tmp_path}/one") == 0
    ended = finish(start_ranks(f"-m stylegan_fast.generate {options} {tmp_path}/two".split()))
    assert [status for status, _, _ in ended] == [0, 0], ended
    assert [out.count("6 images in") for _, out, _ in ended] == [1, 0]
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(names) == 7
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("how", ["a process is killed", "Ctrl-C"])
def test_torchrun_ends_its_job_with_a_state_to_go_on_from(how: str, tmp_path: Path) -> None:
    run = tmp_path / "00000-faces_40-16"
    options = f"{TINY} --kimg 100 --tick 0.02 --snap 1 --device cpu --cache-dir {tmp_path}/cache --outdir {tmp_path}"
    torchrun = "-m torch.distributed.run --standalone --nproc_per_node 2 -m stylegan_fast.train"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    job = subprocess.Popen(
        [sys.executable, *torchrun.split(), *options.split()],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    end = time.monotonic() + 300
    while not (run / "state.pt").exists():
        assert time.monotonic() < end
        assert job.poll() is None, job.communicate()
        time.sleep(0.05)
    if how == "Ctrl-C":
        os.killpg(job.pid, signal.SIGINT)  # as a terminal does: to the agent and to every process
        ((status, out, _),) = finish([job], timeout=120)
        assert "saved. To continue:" in out
    else:
        children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
        os.kill(int(children[1]), signal.SIGKILL)
        ((status, _, err),) = finish([job], timeout=120)
        assert "another process of the job was lost" in err
        assert "--resume" in err
    assert status != 0
    assert call("train", f"--resume {run} --kimg {rows(run)[-1]['kimg'] + 0.02} --device cpu") == 0


def test_a_launched_process_on_its_way_out_is_not_cut_short() -> None:
    """torchrun sends SIGTERM as soon as it sees another process lost; what went wrong is still to be said."""
    program = """
import os, signal
from stylegan_fast.training.interruption import Interruption
try:
    with Interruption(None, launched=True):
        raise RuntimeError
except RuntimeError:
    os.kill(os.getpid(), signal.SIGTERM)
    print("last words")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "last words\n")


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="process 1 of this machine has no GPU, there are 1"):
        type(ALONE)(rank=1, count=2, local_rank=1).device(torch.device("cuda"))
