#!/usr/bin/env bash
# Checks a backup from its first byte to its last: a front for `pgtenant verify`, with the flags of
# the disaster recovery guide.
set -euo pipefail
# shellcheck source=scripts/front.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/front.sh"

for word in "$@"; do
  if [ "$word" = --help ] || [ "$word" = -h ]; then
    cat <<'HELP'
verify-backup.sh [options] FILE: tells whether a backup is whole and can be read

  -v      tell more
  -k KEY  the passphrase of an encrypted backup; better in BACKUP_ENCRYPTION_KEY

and every option of pgtenant verify:

HELP
    run_pgtenant verify --help
  fi
done

take_secrets keys '' "$@"
hand_over_key
run_pgtenant verify ${arguments[@]+"${arguments[@]}"}
