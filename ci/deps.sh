#!/usr/bin/env bash
# Installs what the labs need beyond Go, or says what is missing.
#
# A program that is there already, wherever it came from, is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

# program, or pattern of a file:packages of Debian
programs="
  gcc:gcc,libc6-dev git:git ip:iproute2 sysctl:procps nft:nftables setcap:libcap2-bin
  miniupnpd:miniupnpd-nftables
  turnutils_uclient:coturn tayga:tayga conntrack:conntrack stun:stun-client chromium:chromium firefox-esr:firefox-esr
  node:nodejs npm:npm
  /usr/lib/python3/dist-packages/aiortc:python3-aiortc
  /usr/lib/python3/dist-packages/websockets:python3-websockets
  /usr/lib/python3/dist-packages/gi/overrides/Gst.py:python3-gst-1.0
  /usr/lib/*/girepository-1.0/GstWebRTC-1.0.typelib:gir1.2-gst-plugins-bad-1.0
  /usr/lib/*/gstreamer-1.0/libgstwebrtc.so:gstreamer1.0-plugins-bad
  /usr/lib/*/gstreamer-1.0/libgstnice.so:gstreamer1.0-nice
  /usr/lib/*/gstreamer-1.0/libgstrtpmanager.so:gstreamer1.0-plugins-good
"

export PATH="$PATH:/usr/sbin:/sbin"
packages=()
for entry in $programs; do
  { command -v "${entry%%:*}" || compgen -G "${entry%%:*}"; } >/dev/null && continue
  IFS=, read -ra lacking <<<"${entry##*:}"
  packages+=("${lacking[@]}")
done

try() { # three times, for a registry that falters
  "$@" || { sleep 2; "$@"; } || { sleep 10; "$@"; }
}

if ((${#packages[@]})); then
  install=(apt-get install -y -qq --no-install-recommends "${packages[@]}")
  if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    echo "The labs need programs that are missing. On Debian: sudo apt-get update && sudo ${install[*]}" >&2
    [[ ${CI:-} != true ]] || exit 1
    exit 0
  fi
  echo "installing ${packages[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  # Debian starts what it installs; a TURN server on port 3478 is not wanted.
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  try apt-get update -qq
  try "${install[@]}" >/dev/null
fi

# npm leaves a mark of what it installed; it is made anew when the lock file changes.
lock=lab/browser/package-lock.json
mark=lab/browser/node_modules/.package-lock.json
if [[ ! $mark -nt $lock ]]; then
  try npm --prefix lab/browser ci --no-fund --no-audit --loglevel=error
  touch "$mark"
fi
