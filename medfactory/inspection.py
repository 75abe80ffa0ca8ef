"""The commands that look and run nothing: lineage, sweep, doctor."""

from collections.abc import Callable
from pathlib import Path

import typer
from rich.console import Console
from rich.tree import Tree

from artifacts.errors import StoreError
from artifacts.lineage import ancestors, descendants
from artifacts.manifest import Manifest
from artifacts.store import Store

MARKS = {"ok": "[green]ok  [/green]", "note": "[yellow]note[/yellow]", "bad": "[red]bad [/red]"}


def show_lineage(home: Path, artifact: str | None) -> None:
    """Print the artifacts of the store, or the graph around one."""
    console = Console(soft_wrap=True)
    store = Store(home / "store")
    every = list(store.manifests())
    if artifact is None:
        for manifest in every:
            console.print(_label(manifest), highlight=False)
        return
    try:
        manifest = store.resolve(artifact)
    except StoreError as error:
        Console(stderr=True).print(f"[red]{error}[/red]", highlight=False)
        raise typer.Exit(1) from None
    console.print(_label(manifest), highlight=False)
    console.print(_tree("made from", manifest, lambda m: _parents(m, every)), highlight=False)
    console.print(_tree("used by", manifest, lambda m: _children(m, every)), highlight=False)


def sweep_store(home: Path, older_than_hours: float) -> None:
    """Remove dead scratch and say how much was freed."""
    freed = Store(home / "store").sweep(older_than_hours * 3600)
    typer.echo(f"freed {freed / 2**20:.1f} MiB of scratch in {home / 'store'}")


def show_examination(home: Path, endpoint: str, endpoints_file: Path | None) -> None:
    """Print one line for each thing looked at; leave with status 1 where one is bad."""
    from medfactory.doctor import examine

    console = Console(soft_wrap=True)
    bad = False
    for line in examine(home, endpoint, endpoints_file):
        bad |= line.level == "bad"
        remedy = f" → {line.remedy}" if line.remedy else ""
        console.print(f"{MARKS[line.level]} {line.name}: {line.found}{remedy}", highlight=False)
    if bad:
        raise typer.Exit(1)


def _parents(manifest: Manifest, every: list[Manifest]) -> list[Manifest]:
    wanted = {(e.kind, e.key) for e in manifest.inputs.values()}
    return [m for m in ancestors(manifest, every) if (m.kind, m.key) in wanted]


def _children(manifest: Manifest, every: list[Manifest]) -> list[Manifest]:
    own = (manifest.kind, manifest.key)
    return [
        m
        for m in descendants(manifest, every)
        if own in {(e.kind, e.key) for e in m.inputs.values()}
    ]


def _tree(title: str, root: Manifest, follow: Callable[[Manifest], list[Manifest]]) -> Tree:
    tree = Tree(f"[bold]{title}[/bold]")

    def grow(branch: Tree, manifest: Manifest) -> None:
        for other in follow(manifest):
            grow(branch.add(_label(other)), other)

    grow(tree, root)
    return tree


def _label(manifest: Manifest) -> str:
    counts = ", ".join(f"{name} {number}" for name, number in manifest.counts.items())
    return (
        f"[cyan]{manifest.step}[/cyan] {manifest.kind}/{manifest.key[:12]} "
        f"[dim]{manifest.created_at:%Y-%m-%d %H:%M} {manifest.seconds:.0f} s "
        f"${manifest.cost_usd:.4f} {counts}[/dim]"
    )
