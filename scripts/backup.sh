#!/usr/bin/env bash
# Backs up the whole database: a front for `pgtenant backup`, with the flags of the disaster
# recovery guide.
set -euo pipefail
# shellcheck source=scripts/front.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/front.sh"

for word in "$@"; do
  if [ "$word" = --help ] || [ "$word" = -h ]; then
    cat <<'HELP'
backup.sh [options]: backs up the database that DATABASE_URL names

  -d DIR             the folder (BACKUP_DIR, else /var/backups/n-kudo)
  -k DAYS            keep backups for so many days (BACKUP_RETENTION_DAYS, else 30)
  --no-compress      plain SQL, not gzip (BACKUP_COMPRESS)
  --encrypt          encrypt with the passphrase in BACKUP_ENCRYPTION_KEY (BACKUP_ENCRYPT)
  --s3-bucket NAME   keep it in this bucket too (BACKUP_S3_BUCKET)
  --s3-endpoint URL  the bucket's server, such as MinIO (BACKUP_S3_ENDPOINT)

and every option of pgtenant backup:

HELP
    run_pgtenant backup --help
  fi
done

take_secrets '' '' "$@"
run_pgtenant backup ${arguments[@]+"${arguments[@]}"}
