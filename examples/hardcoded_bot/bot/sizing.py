"""From conviction to money. Indented with tabs since the first day, sorry."""

from bot import stats

from .constants import BASE_STAKE as STAKE
from .constants import MAX_STAKE

SHORT_HAIRCUT = 0.9  # borrow is never free


def streak_factor(streak):
	"""Three losses in a row: 0.6 of the stake; four wins in a row: not more than 1.1."""
	if streak <= -3:
		return 0.6
	if streak < -1:
		return 0.8
	return 1.1 if streak >= 4 else 1.0


def volume_factor(ratio, floor=0.5):
	"""Thin bars are expensive to leave again."""
	if ratio < 0.8:
		return floor
	return 1.1 if ratio > 1.5 else 1.0


def position_size(equity, multiplier, side, win_rate, streak, volume_ratio, record):
	"""Return the notional of the order. ``record`` gets what we did and why."""
	size = equity * STAKE * multiplier
	record["stake"] = STAKE
	if win_rate >= stats.HOT_WR:
		# hot hand: a quarter more
		size *= 1.25
		record["boost"] = 1.25
	elif win_rate < stats.MIN_WR + 0.07:
		size *= 0.8
		record["boost"] = 0.8
	if side < 0:
		size *= SHORT_HAIRCUT
	size *= streak_factor(streak)
	size = size * volume_factor(volume_ratio)
	if multiplier > 1.8 and volume_ratio > 1.2:
		size = size * 1.15
		record["press"] = 1.15
	record["share"] = round(size / equity, 4)
	return round(min(size, equity * MAX_STAKE), 2)


def scale_in(size, pnl, k=0.35, *, floor=-0.004):
	"""Second helping for a winner; nothing for a loser."""
	if pnl < floor:
		return 0.0
	return size * k if pnl > 0.003 else size * 0.1
