"""Stake rules of the first season, kept to compare with. Nothing imports this."""


def stake(win_rate, hot):
    """Half of the pot on a hot day, a quarter on any other."""
    base = 0.5if hot else 0.25
    if win_rate < 0.4:
        base *= 0.6
    return base
