"""Which names speak of a tunable and which do not, and what unit a name tells."""

from __future__ import annotations

import re

_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+")

# A name with one of these is likely to hold a number that trading depends on.
TUNABLE = frozenset({
    "adjustment", "allocation", "alpha", "amplify", "atr", "beta", "bias", "blend", "bollinger", "bonus", "boost",
    "bps", "budget", "cap", "ceiling", "clamp", "coeff", "coefficient", "conf", "confidence", "conviction",
    "cooldown", "correlation", "cost", "cushion", "damping", "decay", "delta", "discount", "drawdown", "drift",
    "edge", "ema", "ev", "ewma", "expectancy", "exposure", "factor", "factors", "fast", "fee", "fees", "floor",
    "fraction", "fractions", "funding", "gain", "gamma", "gate", "halflife", "hit", "hold", "horizon", "hurdle",
    "hurst", "impact", "kelly", "kill", "lambda", "learning", "leverage", "limit", "liquidation", "lookback",
    "loss", "lr", "ma", "macd", "margin", "max", "maximum", "min", "minimum", "momentum", "mult", "multiplier",
    "multipliers", "ofi", "pct", "penalty", "percent", "percentage", "percentile", "period", "pnl", "position",
    "power", "premium", "probability", "profit", "quality", "quantile", "rate", "rates", "ratio", "ratios",
    "reduce", "reentry", "regime", "required", "requirement", "reward", "risk", "roi", "rsi", "samples", "scale",
    "score", "scores", "sensitivity", "severity", "sharpe", "sigma", "signal", "size", "sizing", "skew", "sl",
    "slippage", "slow", "smoothing", "spread", "std", "step", "stop", "streak", "strength", "stretch", "strong",
    "target", "temperature", "thr", "thresh", "threshold", "thresholds", "throttle", "tier", "tolerance", "tp",
    "trades", "trail", "trailing", "trigger", "unfreeze", "vol", "volatility", "volume", "vote", "votes", "weak",
    "weight", "weights", "win", "winrate", "wr", "z", "zscore",
})  # fmt: skip

# These bound anything at all: beside a word of plumbing, and alone, they say little.
WEAK = frozenset({"limit", "max", "maximum", "min", "minimum", "required", "step"})

# A name with one of these holds something else: plumbing, format, time and size of machines.
PLUMBING = frozenset({
    "alpha_plot", "attempt", "attempts", "axis", "backoff", "backup", "backups", "batch_rows", "bins", "bytes",
    "cache", "chmod", "chunk", "chunks", "code", "codes", "color", "colour", "column", "columns", "count_lines",
    "day", "debug", "decimals", "delay", "depth", "digits", "dpi", "elapsed", "epoch", "expire", "expires",
    "figsize", "font", "fontsize", "gb", "head", "heartbeat", "height", "host", "hour", "http", "https", "id",
    "ids", "idx", "indent", "interval_s", "kb", "len", "length", "level", "limit_rows", "lines",
    "linewidth", "margin_px", "markersize", "maxlen", "mb", "minute", "mode", "month", "nbins", "ncols", "ndigits",
    "newline", "nrows", "offset", "padding", "page", "pages", "password", "permissions", "pid", "poll", "polling", "port",
    "ports", "precision", "processes", "queue", "refresh", "retries", "retry", "rotate", "rotation", "row", "rows",
    "seed", "signal_number", "size_mb", "sizebytes", "sleep", "started", "status", "tail", "threads", "timeout",
    "timeouts", "timestamp", "ts", "ttl", "uptime", "url", "verbose", "verbosity", "version", "width", "workers",
    "xlim", "year", "ylim",
})  # fmt: skip

# Functions whose numbers are their own business.
PLUMBING_CALLS = frozenset({
    "Interval", "Lock", "Popen", "RotatingFileHandler", "Thread", "ThreadPoolExecutor", "Timer", "_exit",
    "add_argument", "alarm", "arange", "basicConfig", "bind", "center", "check_output", "chmod", "choice",
    "columns", "communicate", "connect", "critical", "date", "datetime", "dcc", "debug", "deque", "divmod",
    "enumerate", "error", "exception", "exists", "exit", "figure", "fillna", "format", "fromtimestamp", "get_json",
    "head", "hexdigest", "iloc", "info", "int", "isinstance", "islice", "join", "kill", "len", "linspace", "listen",
    "ljust", "log", "makedirs", "nlargest", "nsmallest", "ones", "open", "partition", "post", "pow", "print", "put",
    "randint", "range", "read", "recv", "repeat", "replace", "request", "requests", "reshape", "rjust", "round",
    "rsplit", "run", "sample", "schedule", "seed", "seek", "send", "set_page_config", "shift", "signal", "sleep",
    "split", "strftime", "strptime", "subplots", "substring", "sys_exit", "tail", "timedelta", "token_hex",
    "truncate", "uniform", "urlopen", "wait", "warning", "write", "zeros", "zfill", "zip",
})  # fmt: skip

_UNITS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"bps", "bp"}), "bps"),
    (frozenset({"pct", "percent", "percentage"}), "percent"),
    (frozenset({"usd", "usdt", "dollars", "notional"}), "USD"),
    (frozenset({"hours", "hrs", "hour"}), "hours"),
    (frozenset({"minutes", "mins", "minute"}), "minutes"),
    (frozenset({"seconds", "secs", "sec", "second"}), "seconds"),
    (frozenset({"days", "day"}), "days"),
    (frozenset({"mult", "multiplier", "factor", "boost", "scale", "leverage"}), "multiplier"),
    (frozenset({"weight", "weights"}), "weight"),
    (frozenset({"fee", "fees", "slippage", "edge"}), "fraction of notional"),
    (frozenset({"rate", "wr", "winrate", "ratio", "fraction", "probability"}), "fraction"),
    (frozenset({"trades", "samples", "count", "streak", "signals", "votes"}), "count"),
    (frozenset({"score", "confidence", "conviction", "strength", "threshold", "thresholds"}), "score"),
)


def parts(name: str) -> list[str]:
    """Split a name into its lower-case words: ``minWinRate_2`` gives min, win, rate, 2."""
    return [part.lower() for part in _PARTS.findall(name)]


def snake(name: str) -> str:
    """Return a name as lower-case words joined by ``_``; empty if there is none."""
    return "_".join(parts(name))


def is_tunable(word: str) -> bool:
    return word in TUNABLE or word.removesuffix("s") in TUNABLE


def unit_of(words: list[str]) -> str:
    """Return the unit that a name tells, else an empty text. The last word that tells one decides."""
    for word in reversed(words):
        for names, unit in _UNITS:
            if word in names:
                return unit
    return ""
