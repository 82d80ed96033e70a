# Sourced by the scripts beside it: starts pgtenant from a checkout or from an installed package,
# from any working folder, without a secret on its command line.
# shellcheck shell=bash

scripts_folder=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd -P)
root_folder=$(dirname -- "$scripts_folder")

fail() {
  printf '%s: %s\nhint: %s\n' "$(basename -- "$0")" "$1" "$2" >&2
  exit 2
}

# Replaces this shell, whose own command line may show a key, by pgtenant.
run_pgtenant() {
  command -v node >/dev/null || fail 'there is no node' 'Install Node.js 22.15 or newer.'
  if [ -f "$root_folder/src/main.ts" ]; then
    # To stderr, if anything: the standard output may be a result that a program reads.
    node "$scripts_folder/ensure-installed.js" >&2 || exit 2
    exec "$root_folder/node_modules/.bin/node" "$root_folder/src/main.ts" "$@"
  fi
  exec node "$root_folder/dist/main.js" "$@"
}

# What remains of the command line, for pgtenant.
arguments=()
key=
key_given=

# Takes the values of options that are secrets out of the command line: the key of -k or --key
# (only with `keys`), and the URL of --database-url (also of -d, with `url`), which may hold a
# password. Whatever else there is, is pgtenant's to understand.
take_secrets() {
  local keys=$1 url=$2
  shift 2
  local word
  while [ $# -gt 0 ]; do
    word=$1
    shift
    if [ "$word" = -- ]; then
      arguments+=("$word" "$@")
      return
    elif [[ $keys = keys && $word =~ ^(--key|-([fv]*)k)$ && $# -gt 0 ]]; then
      take_letters "${BASH_REMATCH[2]}"
      take_key "$1"
      shift
    elif [[ $keys = keys && $word =~ ^(--key=|-([fv]*)k=?)(.*)$ && -n ${BASH_REMATCH[3]} ]]; then
      take_letters "${BASH_REMATCH[2]}"
      take_key "${BASH_REMATCH[3]}"
    elif [[ ($word =~ ^--database-?[uU]rl()$ || ($url = url && $word =~ ^-([fv]*)d$)) && $# -gt 0 ]]; then
      take_letters "${BASH_REMATCH[1]}"
      take_url "$1"
      shift
    elif [[ $word =~ ^--database-?[uU]rl=()(.*)$ || ($url = url && $word =~ ^-([fv]*)d=?(.+)$) ]]; then
      take_letters "${BASH_REMATCH[1]}"
      take_url "${BASH_REMATCH[2]}"
    else
      arguments+=("$word")
    fi
  done
}

# The letters before it, as in -fk KEY.
take_letters() {
  if [ -n "$1" ]; then arguments+=("-$1"); fi
}

take_key() {
  if [ -n "$key_given" ]; then fail '-k is given twice' 'Give further keys with --key-file FILE.'; fi
  if [ -z "$1" ]; then fail '-k names nothing' 'Give the passphrase, or leave -k out.'; fi
  key_given=yes
  key=$1
}

take_url() {
  if [ -z "$1" ]; then fail 'the database URL is empty' 'Give it, or leave the option out.'; fi
  unset DATABASE_URL_FILE
  export DATABASE_URL=$1
}

# Gives the key to pgtenant by its environment, or an age identity by a pipe.
hand_over_key() {
  if [ -z "$key_given" ]; then return; fi
  printf 'warning: %s\n' "a key on the command line can be seen by other users of this machine, and stays in the shell's history; use BACKUP_ENCRYPTION_KEY, --key-file or -i" >&2
  if [[ $key = AGE-SECRET-KEY-* ]]; then
    exec 3< <(printf '%s\n' "$key")
    arguments=(--identity /dev/fd/3 "${arguments[@]}")
  else
    unset BACKUP_ENCRYPTION_KEY_FILE
    export BACKUP_ENCRYPTION_KEY=$key
  fi
}
