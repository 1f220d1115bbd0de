"""`luminaguard vm image`: root images."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from luminaguard.app.vm_images import Listed, all_images, build, remove_image
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Json
from luminaguard.ui.cli.arguments import show_examples
from luminaguard.ui.cli.exits import Exit
from luminaguard.ui.cli.printing import Printer, printer_for
from luminaguard.ui.cli.vm.words import iso, size

SUMMARY = "build, list and remove root images"
ID_CHARS = 12


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what may be typed after the verb."""
    parser.usage = "luminaguard vm image build|list|remove ..."
    parser.add_argument("what", choices=("build", "list", "remove"), metavar="build|list|remove")
    parser.add_argument("source", nargs="?", metavar="FOLDER|TARBALL|NAME|ID", help="what to build from, or to remove")
    parser.add_argument("--toolchain", action="store_true", help="build from the programs of this machine")
    parser.add_argument("--name", help="what to call it")
    show_examples(
        parser,
        ("luminaguard vm image build --toolchain --name tools", "this machine's programs at the same paths"),
        ("luminaguard vm image build rootfs --name small", "a folder; a tarball works as well"),
        ("luminaguard vm image list", "what was built, with names and sizes"),
        ("luminaguard vm image remove small", "by a name, or how the id begins"),
    )


def run(options: argparse.Namespace) -> int:
    """Do what was asked."""
    does: Mapping[str, Callable[[argparse.Namespace, Printer], None]] = {
        "build": _build,
        "list": _list,
        "remove": _remove,
    }
    if options.what != "build" and (options.toolchain or options.name):
        raise UserFault(f"luminaguard vm image {options.what} takes neither --toolchain nor --name")
    does[options.what](options, printer_for(options))
    return Exit.DONE


def _build(options: argparse.Namespace, printer: Printer) -> None:
    source = Path(options.source) if options.source is not None else None
    built = build(source, toolchain=options.toolchain, name=options.name)
    if printer.is_json:
        printer.document({"schema": "luminaguard/vm-image@1", **_json(built)})
    else:
        printer.line(_line(built))


def _list(options: argparse.Namespace, printer: Printer) -> None:
    if options.source is not None:
        raise UserFault("luminaguard vm image list takes no name", hint="it lists them all")
    found = all_images()
    if printer.is_json:
        printer.document({"schema": "luminaguard/vm-images@1", "images": [_json(one) for one in found]})
        return
    for one in found:
        printer.line(_line(one))
    if not found:
        printer.line("no images; luminaguard vm image build makes one")


def _remove(options: argparse.Namespace, printer: Printer) -> None:
    if options.source is None:
        raise UserFault(
            "luminaguard vm image remove needs a name or an id", hint="luminaguard vm image list shows them"
        )
    removed = remove_image(options.source)
    if printer.is_json:
        printer.document({"schema": "luminaguard/vm-image@1", **_json(removed)})
    else:
        printer.line(f"removed {removed.image.id[:ID_CHARS]}  {size(removed.image.bytes)}")


def _line(one: Listed) -> str:
    names = ", ".join(one.names) or "-"
    image = one.image
    return f"{image.id[:ID_CHARS]}  {names:<16}  {size(image.bytes):>10}  {iso(image.made)}  {image.source}"


def _json(one: Listed) -> dict[str, Json]:
    image = one.image
    return {
        "id": image.id,
        "names": [*one.names],
        "path": str(image.path),
        "bytes": image.bytes,
        "made": iso(image.made),
        "source": image.source,
    }
