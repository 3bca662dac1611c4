"""A corpus into the store, once for each state of the file."""

from __future__ import annotations

from pathlib import Path

from rulesel.config import CorpusConfig
from rulesel.corpus import Corpus, open_corpus
from rulesel.errors import CorpusError
from rulesel.pipeline.watch import Progress, Watcher
from rulesel.store import CorpusRecord, Store

SHOWN = 5
"""Unreadable records listed one by one; the rest are counted."""


def open_source(config: CorpusConfig, watcher: Watcher | None = None) -> Corpus:
    """The corpus, its format and mapping found out; nothing is read into the store yet.

    Args:
        config: which file, and its fields.
        watcher: says when the user wants to stop waiting.

    Raises:
        CorpusError: it cannot be read.
    """
    return open_corpus(
        config.path if config.path == "-" else Path(config.path),
        prompt_field=config.prompt_field,
        response_field=config.response_field,
        text_field=config.text_field,
        limit=config.limit,
        check=None if watcher is None else watcher.check,
    )


def read_corpus(store: Store, config: CorpusConfig, source: Corpus, watcher: Watcher) -> CorpusRecord:
    """Read the corpus into the store, unless that very state of it is there already.

    Raises:
        CorpusError: it turns out unreadable, or holds no example.
        Interrupted: the user asked to stop; reading starts again next time.
    """
    for line in source.describe():
        watcher.say(line)
    known = store.corpora.find(source.sha256, source.mapping, config.limit) if store.corpora.current() else None
    if known is not None:
        store.corpora.touch(known.corpus)
        watcher.say(f"corpus: {known.n_examples:,} examples, read before")
        return known
    incoming = store.corpora.begin(
        path=config.path,
        source_format=source.format,
        shape=source.shape,
        mapping=source.mapping,
        header=source.header,
        limit=config.limit,
    )
    done = 0
    for chunk in source.chunks():
        incoming.add(chunk.rows, chunk.hashes, chunk.prompts, chunk.responses, chunk.records)
        done += len(chunk.hashes)
        watcher.progress(Progress("read", done, None, "examples"))
        watcher.check()
    if done == 0:
        raise CorpusError(f"{config.path} holds no example that can be read.")
    record = incoming.finish(
        sha256=source.sha256, n_records=source.n_records, skipped=dict(source.skipped), unreadable=source.unreadable
    )
    _tell(record, source, watcher)
    return record


def _tell(record: CorpusRecord, source: Corpus, watcher: Watcher) -> None:
    skipped = sum(record.skipped.values())
    watcher.say(f"corpus: {record.n_examples:,} examples" + (f", {skipped:,} records skipped" if skipped else ""))
    for line, reason in source.skips[:SHOWN]:
        watcher.say(f"  skipped record {line}: {reason}")
    if skipped > SHOWN:
        watcher.say("  in all: " + ", ".join(f"{reason} {n:,}" for reason, n in record.skipped.items()))
