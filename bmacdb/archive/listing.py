"""What the archive's bucket answers to a listing: S3's XML. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree

from bmacdb.clock import to_ms
from bmacdb.errors import Malformed

__all__ = ["Entry", "Page", "parse_listing"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One object: its key, when it was put there, its size in bytes and its tag (which changes with its content)."""

    key: str
    last_modified_ms: int
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing. `marker` is what to go on from; None at the end."""

    entries: tuple[Entry, ...]
    prefixes: tuple[str, ...]
    marker: str | None


def parse_listing(body: bytes) -> Page:
    """A page of S3's first listing protocol. Raises Malformed."""
    # The parser of the standard library would expand entities without end; a listing has none.
    if b"<!" in body:
        raise Malformed("the archive's listing holds declarations, which a listing does not: is --archive-url right?")
    try:
        root = ElementTree.fromstring(body)
        space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
        if root.tag != f"{space}ListBucketResult":
            raise Malformed(f"the archive's listing is <{root.tag.removeprefix(space)}>: is --archive-url right?")

        def text(element: ElementTree.Element, name: str) -> str:
            return element.findtext(space + name) or ""

        entries = tuple(
            Entry(
                text(content, "Key"),
                to_ms(datetime.fromisoformat(text(content, "LastModified"))),
                int(text(content, "Size")),
                text(content, "ETag").strip('"'),
            )
            for content in root.iterfind(f"{space}Contents")
        )
        prefixes = tuple(text(group, "Prefix") for group in root.iterfind(f"{space}CommonPrefixes"))
        if text(root, "IsTruncated") != "true":
            return Page(entries, prefixes, None)
        # Without a delimiter S3 leaves the marker out: it is the last key.
        last = max((*(entry.key for entry in entries), *prefixes), default="")
        marker = text(root, "NextMarker") or last
        if not marker:
            raise Malformed("the archive's listing says that there is more, and not from where.")
        return Page(entries, prefixes, marker)
    except (ElementTree.ParseError, ValueError) as error:
        raise Malformed(f"the archive's listing does not parse: {error}. Is --archive-url right?") from error
