"""What a battery's readings say of its life: used how, worn how far, and how sure that is."""

from bmslink.analysis.facts import Estimate, LifeFacts, Trend
from bmslink.analysis.life import BatteryLife
from bmslink.analysis.sample import Counted

__all__ = ["BatteryLife", "Counted", "Estimate", "LifeFacts", "Trend"]
