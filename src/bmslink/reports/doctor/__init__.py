"""The doctor: what is wrong with a link, a board, a battery, its settings or this computer."""

from bmslink.reports.doctor.examination import Examination
from bmslink.reports.doctor.examine import examine, examine_host
from bmslink.reports.doctor.finding import Area, DoctorFinding, LookedAt

__all__ = ["Area", "DoctorFinding", "Examination", "LookedAt", "examine", "examine_host"]
