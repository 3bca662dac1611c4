"""The configuration file that `rulesel init` writes."""

from __future__ import annotations

from pathlib import Path

from rulesel.errors import UsageError

TEMPLATE = """\
# A run of rulesel:  rulesel run rulesel.yaml
# Every setting can be overridden on the command line; what is not set here has its default.

corpus:
  path: corpus.jsonl          # JSONL, CSV (.gz, .zst), Parquet, a datasets directory, or "-"
  # prompt_field: question    # only where the fields are not found by themselves
  # response_field: answer
  # limit: 1000               # read at most this many examples

domain: general instructions for an assistant   # a sentence: what the examples are for

judge: signals                # signals: measured by SQL, no model, no cost; or openai/gpt-4.1-mini,
                              # http://127.0.0.1:8000/v1#model, anthropic/…; keys come from the environment
# sample_judge: …             # somebody else for the sample the rules are chosen on

rules:
  # source: pack:general-instructions   # or a YAML file of your own; else the pack nearest to the domain,
  # writer: openai/gpt-4.1              # or what this model writes for it
  # count: 50                 # rules it is asked for
  sample: 1000                # examples rated on every rule
  # anchor: overall           # the judge's own grades of the sample say which rules matter; or a column, or none
  # retest: 50                # examples rated twice in other words, to see which rules are reliable
  keep: 10                    # rules kept, or auto
  # required: [name of a rule]
  # forbidden: [name of a rule]

select:
  method: top_k               # see: rulesel catalog
  k: 1000
  # fraction: 0.1             # instead of k
  # max_tokens: 1000000       # about 4 characters a token
  # per: {source: 100}        # at most 100 examples of each value of a field

# max_cost: 10                # dollars, earlier attempts included; never passed
# max_requests: 100000
# concurrency: 64             # at once; rpm: and tpm: are the provider's limits a minute
# prices: {openai/gpt-4.1-mini: {input: 0.40, cached: 0.10, output: 1.60}}   # dollars for a million tokens
# yes: true                   # do not ask before spending

out: selected.jsonl
seed: 0
"""


def write_config(path: Path, *, overwrite: bool) -> None:
    """Write the commented configuration.

    Raises:
        UsageError: the file is there already, or cannot be written.
    """
    try:
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already: --force overwrites it, or name another.") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}.") from error
