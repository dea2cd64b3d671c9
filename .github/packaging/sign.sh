#!/bin/sh
# sign.sh KEY COMMENT FOLDER: signs SHA256SUMS, and writes the public key into
# install.sh, both in the folder. minisign asks for the key's password, if it has
# one. The comment is signed, too.
set -eu
key=$1 comment=$2 folder=$3
public=$(mktemp)
trap 'rm -f "$public"' EXIT
minisign -R -f -s "$key" -p "$public" >/dev/null
minisign -S -s "$key" -t "$comment" -m "$folder/SHA256SUMS" >/dev/null
sed "s|^signing_key=.*|signing_key=$(tail -n 1 "$public")|" install.sh >"$folder/install.sh"
chmod 755 "$folder/install.sh"
grep -q "^signing_key=$(tail -n 1 "$public")\$" "$folder/install.sh"
