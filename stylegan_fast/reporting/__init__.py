"""A run as a person looks at it: made of the files in its folder, and of nothing else.

``record``   what a run's folder holds, read once
``charts``   which curves are drawn of it
``svg``      a curve on the page
``plot``     all curves in one PNG
``strip``    one row of samples for each snapshot in one PNG
``sheets``   sheets of samples small enough for a page
``page``     report.html
"""

from stylegan_fast.reporting.page import write_report
from stylegan_fast.reporting.record import RunRecord, read_run

__all__ = ["RunRecord", "read_run", "write_report"]
