"""Opening a corpus: its format and its fields, from its first records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rulesel.corpus.detect import open_reader
from rulesel.corpus.raw import MAX_RECORD, NOT_UTF8, Damaged, Raw, RecordReader, Unusable
from rulesel.corpus.reader import Corpus, damaged
from rulesel.corpus.shapes import Fields, choose_mapping
from rulesel.corpus.source import Source, locate
from rulesel.errors import CorpusError

_SAMPLE_RECORDS = 1000
_SAMPLE_BYTES = MAX_RECORD // 4


def open_corpus(
    path: Path | str,
    *,
    prompt_field: str | None = None,
    response_field: str | None = None,
    text_field: str | None = None,
    limit: int | None = None,
    check: Callable[[], None] | None = None,
) -> Corpus:
    """Find out the format and the fields of a corpus from its first records.

    Args:
        path: JSON Lines or CSV (plain, gzip or zstd), Parquet, a directory written by `save_to_disk`, or "-" for
            standard input. What is in the file counts, not its name.
        prompt_field: field of the prompt; detected if not given.
        response_field: field of the response, or of a conversation.
        text_field: field of plain text, which has no prompt.
        limit: examples read at most.
        check: called now and then while waiting and reading; what it raises ends that.

    Raises:
        CorpusError: the corpus cannot be read, or no record of the first 1000 can be used; nothing has been done yet.
    """
    if limit is not None and limit < 1:
        raise CorpusError(f"--limit {limit}: at least one example has to be read.")
    source = locate(path, check)
    reader = open_reader(source)
    sample = _sample(source, reader)
    readable = [(raw.fields, raw.record) for raw in sample if raw.fields is not None]
    if not readable:
        raise _none_usable(source, Counter(raw.reason for raw in sample))
    fields = Fields([values for values, _ in readable])
    mapping = choose_mapping(
        fields, source.name, prompt_field=prompt_field, response_field=response_field, text_field=text_field
    )
    reasons: Counter[str] = Counter(raw.reason for raw in sample if raw.fields is None)
    for values, record in readable:
        try:
            mapping.read(values, record)
        except Unusable as error:
            reasons[str(error)] += 1
    if sum(reasons.values()) == len(sample):
        raise _none_usable(source, reasons)
    return Corpus(str(path), source, reader, mapping, list(fields.names), limit, check)


def _sample(source: Source, reader: RecordReader) -> list[Raw]:
    sample: list[Raw] = []
    size = 0
    try:
        for raw in reader.records():
            sample.append(raw)
            size += len(raw.record)
            if len(sample) == _SAMPLE_RECORDS or size > _SAMPLE_BYTES:
                break
    except Damaged as error:
        raise damaged(source.name, len(sample), error) from error
    return sample


def _none_usable(source: Source, reasons: Counter[str]) -> CorpusError:
    if not reasons:
        return CorpusError(f"{source.name} holds no records.")
    hint = " Convert it with iconv, from WINDOWS-1252 or whatever it is in, to UTF-8." if NOT_UTF8 in reasons else ""
    listed = "; ".join(f"{count:,} x {reason}" for reason, count in reasons.most_common(3))
    return CorpusError(
        f"{source.name}: not one of the first {sum(reasons.values()):,} records can be used ({listed}).{hint}"
    )
