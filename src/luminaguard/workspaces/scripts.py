"""The two scripts of ours that run inside the walls: one makes the tree ready, one brings the work together.

Both take what the agent left as hostile: what its settings start is started inside, where nothing is left to take.
"""

TREE_FAILED = 97
"""The exit code of PREPARE when the tree could not be set up."""

PREPARE = """
start=$1 snapshot=$2 merge=$3; shift 3
reset() { git read-tree --reset -u "$start" || exit 97; }
if [ ! -e .git/luminaguard-prepared ] && [ "$(git rev-parse HEAD)" = "$start" ]; then
  {
    if [ -e .git/luminaguard-preparing ]; then
      rm -f .git/index.lock .git/MERGE_HEAD .git/MERGE_MSG .git/MERGE_MODE
      reset
    else
      : > .git/luminaguard-preparing
      [ "$start" = "$snapshot" ] || reset
    fi
    # A merge that conflicts is the agent's to resolve; one that git refuses leaves the start as it is.
    [ -z "$merge" ] || git merge --no-edit -m "Merge the target at $merge" "$merge" || :
    : > .git/luminaguard-prepared
  } </dev/null
fi
[ $# -eq 0 ] || exec "$@"
"""

COLLECT = """
set -uf
spare=$1 tree=$2 start=$3 merge=$4 branch=$5 date=$6 message=$7
agent=$tree/.git
exec 3>&1 1>&2 </dev/null
mkdir -p "$tree" && cd "$tree" || exit 98
export GIT_LITERAL_PATHSPECS=1 GIT_AUTHOR_DATE="$date" GIT_COMMITTER_DATE="$date" GIT_CONFIG_GLOBAL=/dev/null

within() { if command -v timeout >/dev/null; then timeout "$@"; else shift; "$@"; fi; }
ours() { GIT_DIR=$spare GIT_WORK_TREE=$tree git "$@"; }
theirs() {
  within "$patience" git --git-dir="$agent" --work-tree="$tree" -c core.hooksPath=/dev/null \
    -c core.fsmonitor=false -c core.pager=cat "$@" 2>/dev/null
}
is_commit() {
  case $1 in '' | *[!0-9a-f]*) return 1 ;; esac
  [ ${#1} -eq ${#start} ] && ours cat-file -e "$1^{commit}" 2>/dev/null
}
is_new() { [ "$(ours rev-list --max-count=1 "$1" --not "$start" ${merge:+"$merge"})" ]; }

# Where the agent's settings are broken, its files still say where it stands.
by_hand() {
  [ -f "$agent/HEAD" ] || return
  head=$(head -c 4096 "$agent/HEAD")
  case $head in
    'ref: '*)
      ref=${head#ref: }
      if [ -f "$agent/$ref" ]; then head -c 64 "$agent/$ref"
      elif [ -f "$agent/packed-refs" ]; then
        while read -r oid name; do [ "$name" = "$ref" ] && echo "$oid"; done < "$agent/packed-refs"
      fi ;;
    *) echo "$head" ;;
  esac
}

patience=5
tip=$(theirs rev-parse --verify -q 'HEAD^{commit}')
[ $? -ne 124 ] || theirs() { false; } # a pipe in place of a file, say: not asked again
patience=30
is_commit "$tip" || tip=$(by_hand)
is_commit "$tip" || tip=$start

# What is committed stays, even where it is ignored; what is staged by force counts as well.
stage() { ours add -A --ignore-errors 2>"$spare/errors"; [ $? -le 1 ] || exit 98; }
: >"$spare/errors"
if ours read-tree -m "$tip" || ours read-tree "$tip"; then
  stage
  if [ -s "$spare/errors" ]; then chmod -R u+rwX . ; stage; cat "$spare/errors"; fi
  theirs diff-index --cached --name-only --diff-filter=A -z HEAD >"$spare/forced"
  [ ! -s "$spare/forced" ] || ours update-index --add --remove -z --stdin <"$spare/forced"
  made=$(ours write-tree) || exit 98
else
  made=$(ours rev-parse "$tip^{tree}") # paths that git refuses: the import will say which, and keep the commits
fi

parents=
if [ -f "$agent/MERGE_HEAD" ]; then
  for oid in $(head -c 4096 "$agent/MERGE_HEAD"); do
    if is_commit "$oid" && ! ours merge-base --is-ancestor "$oid" "$tip"; then parents="$parents -p $oid"; fi
  done
fi
committed=no
if [ "$made" != "$(ours rev-parse "$tip^{tree}")" ] || [ "$parents" ]; then
  tip=$(printf '%s\\n' "$message" | ours commit-tree "$made" -p "$tip" $parents) || exit 98
  committed=yes
elif [ "$tip" = "$start" ]; then
  moved=$(theirs rev-parse --verify -q "refs/heads/$branch^{commit}")
  if is_commit "$moved"; then tip=$moved; fi
fi

# Commits on other branches, and what is stashed, are kept as well, though nobody asked for them.
set --
if is_new "$tip"; then ours update-ref refs/out/tip "$tip"; set -- refs/out/tip; fi
count=0
for oid in $(theirs for-each-ref --count=100 --format='%(objectname)' refs/heads refs/stash); do
  if is_commit "$oid" && is_new "$oid" && ! ours merge-base --is-ancestor "$oid" "$tip" && [ $count -lt 32 ]; then
    count=$((count + 1))
    ours update-ref "refs/out/other/$count" "$oid"
    set -- "$@" "refs/out/other/$count"
  fi
done

exec 1>&3
echo "tip $tip"
echo "committed $committed"
sed -n "s/^error: '\\(.*\\)' does not have a commit checked out$/skipped \\1/p" "$spare/errors" | head -n 20
echo
[ $# -eq 0 ] || ours bundle create --quiet - "$@" --not "$start" ${merge:+"$merge"} 3>&-
"""
