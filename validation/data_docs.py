"""Data Docs that can be read without a network: no remote styles, scripts or images."""

import re
from pathlib import Path

REMOTE_LINK = re.compile(r"<link\b[^>]*href=[\"'](?:https?:)?//[^>]*>", re.IGNORECASE)
SCRIPT = re.compile(r"<script\b.*?</script\s*>", re.IGNORECASE | re.DOTALL)
REMOTE_IMAGE = re.compile(r"<img\b[^>]*src=\s*[\"'](?:https?:)?//[^>]*>", re.IGNORECASE)
HEAD_END = re.compile(r"</head\s*>", re.IGNORECASE)
# Pages are laid out by a remote framework; this says the little of it that reading needs.
STYLE = """<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 1rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { border: 1px solid #ccc; padding: .35rem .7rem; text-align: left; vertical-align: top; }
ul, ol { padding-left: 1.2rem; }
.modal, .fixed-table-loading, button, footer { display: none; }
.badge { background: #eee; border-radius: .3rem; padding: 0 .3rem; }
.fa-check-circle::before { content: "\\2713 holds"; color: #17743a; }
.fa-times::before { content: "\\2717 fails"; color: #b3261e; }
.fa-exclamation-triangle::before { content: "! error"; color: #b3261e; }
.breadcrumb { list-style: none; display: flex; gap: 1rem; padding: 0; }
</style>
"""


def make_readable_offline(folder: Path) -> None:
    """Rewrite each page of a Data Docs folder so that it loads nothing from elsewhere.

    The index, which a script would fill, becomes a plain list of links.
    """
    pages = sorted(folder.rglob("*.html"))
    for page in pages:
        page.write_text(without_remote_parts(page.read_text(encoding="utf-8")), encoding="utf-8")
    index = folder / "index.html"
    index.write_text(_index(folder, [page for page in pages if page != index]), encoding="utf-8")


def without_remote_parts(page: str) -> str:
    """A page without scripts and remote parts, with a small style of its own."""
    for pattern in (SCRIPT, REMOTE_LINK, REMOTE_IMAGE):
        page = pattern.sub("", page)
    return HEAD_END.sub(lambda _: STYLE + "</head>", page, count=1)


def _index(folder: Path, pages: list[Path]) -> str:
    links = {"validations": "", "expectations": ""}
    for page in pages:
        path = page.relative_to(folder)
        if path.parts[0] in links:
            name = path.parts[1].removesuffix(".html")
            links[path.parts[0]] += f'<li><a href="{path.as_posix()}">{name}</a></li>\n'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Data Docs</title>\n'
        f"{STYLE}</head><body><h1>Data Docs</h1>\n"
        f"<h2>What was found, by table</h2>\n<ul>\n{links['validations']}</ul>\n"
        f"<h2>What must hold, by table</h2>\n<ul>\n{links['expectations']}</ul>\n"
        "</body></html>\n"
    )
