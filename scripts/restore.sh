#!/usr/bin/env bash
# Restores the whole database: a front for `pgtenant restore`, with the flags of the disaster
# recovery guide.
set -euo pipefail
# shellcheck source=scripts/front.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/front.sh"

for word in "$@"; do
  if [ "$word" = --help ] || [ "$word" = -h ]; then
    cat <<'HELP'
restore.sh [options] FILE: restores a backup, and asks for the database's name before it

  -f      do not ask
  -k KEY  the passphrase of an encrypted backup; better in BACKUP_ENCRYPTION_KEY
  -d URL  the database (DATABASE_URL)

and every option of pgtenant restore:

HELP
    run_pgtenant restore --help
  fi
done

take_secrets keys url "$@"
hand_over_key
run_pgtenant restore ${arguments[@]+"${arguments[@]}"}
