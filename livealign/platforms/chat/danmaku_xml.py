"""Danmaku XML as a stream of elements, in bounded memory.

Document types and entities are refused.
"""

import codecs
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from xml.sax import SAXException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser, create_parser

from livealign.errors import ArchiveError
from livealign.platforms.chat.json_text import MAX_ELEMENT_CHARACTERS, byte_chunks

# Characters that XML cannot hold, which recorders write nevertheless; they become spaces.
_CONTROL = bytes.maketrans(bytes(range(9)) + b"\x0b\x0c" + bytes(range(14, 32)), b" " * 29)


class Element(NamedTuple):
    """One child of the root: its name, attributes and text."""

    tag: str
    attributes: dict[str, str]
    text: str


def stream_xml(path: Path) -> Iterator[tuple[int, Element]]:
    """(line, element) of every child of the root, in order.

    Bytes that are not UTF-8 become U+FFFD.

    Raises:
        ArchiveError: the file as a whole cannot be read: cut short, no XML, a document type or entity in it, or too large.
        FileNotFoundError: there is no such file.
    """
    parser = create_parser(forbid_dtd=True, forbid_entities=True, forbid_external=True)
    children = _Children(path, parser)
    parser.setContentHandler(children)
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    problem: Exception | None = None
    for chunk in chain(byte_chunks(path), [b""]):
        problem = _feed(parser, decode(chunk.translate(_CONTROL), not chunk))
        yield from children.take()  # what came before a problem may say what the recording is
        if problem is not None:
            break
    if isinstance(problem, DefusedXmlException):
        raise ArchiveError(f"{path} declares a document type or an entity, which no danmaku file does ({problem})")
    if problem is not None:
        raise ArchiveError(f"{path} stops being XML ({str(problem)[:200]}); fetch it again")


def _feed(parser: DefusedExpatParser, text: str) -> Exception | None:
    """Parse the next text, or with none the end; returns what is wrong with it."""
    try:
        if text:
            parser.feed(text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd"))
        else:
            parser.close()
    except (DefusedXmlException, SAXException) as error:
        return error
    return None


class _Children(ContentHandler):
    """Gathers the root's children until they are taken."""

    def __init__(self, path: Path, parser: DefusedExpatParser) -> None:
        super().__init__()
        self._path, self._parser = path, parser
        self._depth, self._characters, self._line = 0, 0, 0
        self._tag, self._attributes, self._parts = "", dict[str, str](), list[str]()
        self._ready: list[tuple[int, Element]] = []

    def take(self) -> list[tuple[int, Element]]:
        """The children that were complete, which are forgotten."""
        ready, self._ready = self._ready, []
        return ready

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        self._depth += 1
        if self._depth == 1 and name != "i":
            raise ArchiveError(f"{self._path} is no danmaku file: its root is <{name[:40]}>, not <i>")
        if self._depth == 2:
            self._tag, self._attributes = name, dict(attrs.items())
            self._parts, self._characters, self._line = [], 0, self._parser.getLineNumber()

    def characters(self, content: str) -> None:
        if self._depth == 2:
            self._characters += len(content)
            if self._characters > MAX_ELEMENT_CHARACTERS:
                raise ArchiveError(f"{self._path} has an element larger than any message; look at what it is")
            self._parts.append(content)

    def endElement(self, name: str) -> None:
        if self._depth == 2:
            self._ready.append((self._line, Element(self._tag, self._attributes, "".join(self._parts))))
        self._depth -= 1
