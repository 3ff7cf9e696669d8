"""Texts that a stranger may have put into names, tags, captions and records."""

HOSTILE_TEXTS = (
    "[/x]",
    "[bold red]x",
    ":smile:",
    "\x1b]0;title\x07\x1b[2J",
    "\x9b31m",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a|b",
    "*`code`*",
    "[link](javascript:alert(1))",
    "line\r\nbreak",
    "nul\0",
    "\u202egnp.exe",
    "\udcff\ud800",
    "=HYPERLINK(0)",
    "-1+1",
    "@SUM(1)",
    "x" * 4000,
)

HOSTILE_NAMES = [
    text.replace("/", "-").replace("\0", "").replace("\ud800", "")[:200] for text in HOSTILE_TEXTS
]
"""Names of files and folders."""
