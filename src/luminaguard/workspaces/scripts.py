"""The two scripts of ours that run inside the walls: one makes the tree ready, one brings the work together.

Both take what the agent left as hostile: what its settings start is started inside, where nothing is left to take.
"""

FRESH = "luminaguard-fresh"
"""A file that stands in `.git` from the start: with it and without PREPARE's own marks nothing has been done yet."""

PREPARE = """
start=$1 snapshot=$2 merge=$3; shift 3
reset() { git read-tree --reset -u "$start" || exit 97; }
untouched() { [ -e .git/luminaguard-fresh ] && [ ! -e .git/luminaguard-preparing ]; }
if [ ! -e .git/luminaguard-prepared ] && { untouched || [ "$(git rev-parse HEAD)" = "$start" ]; }; then
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
set -u
spare=$1 tree=$2 start=$3 merge=$4 branch=$5 date=$6 message=$7 start_tree=$8 indexed=$9
agent=$tree/.git
exec 3>&1 1>&2 </dev/null
[ -d "$tree" ] || mkdir -p "$tree"
cd "$tree" || exit 98
export GIT_DIR="$spare" GIT_WORK_TREE="$tree" GIT_LITERAL_PATHSPECS=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_NO_REPLACE_OBJECTS=1 GIT_AUTHOR_DATE="$date" GIT_COMMITTER_DATE="$date"

# Each process costs a millisecond or three, so what the shell itself can see it looks at itself.
bound=timeout
command -v timeout >/dev/null || bound=
theirs() {
  ${bound:+timeout "$patience"} git --git-dir="$agent" --work-tree="$tree" -c core.hooksPath=/dev/null \
    -c core.fsmonitor=false -c core.pager=cat "$@" 2>/dev/null
}
is_commit() {
  case $1 in '' | *[!0-9a-f]*) return 1 ;; esac
  [ ${#1} -eq ${#start} ] && git cat-file -e "$1^{commit}" 2>/dev/null
}

# Nothing was committed, branched off or stashed: HEAD and the refs are as they were written at the start.
untouched() {
  [ -f "$agent/HEAD" ] && [ -f "$agent/packed-refs" ] && [ ! -e "$agent/commondir" ] || return 1
  IFS= read -r line <"$agent/HEAD" && [ "$line" = "ref: refs/heads/$branch" ] || return 1
  {
    IFS= read -r line && IFS= read -r line && [ "$line" = "$start refs/heads/$branch" ] || return 1
    IFS= read -r line && return 1
  } <"$agent/packed-refs"
  set -- "$agent/refs/"* "$agent/refs/heads/"*
  [ "$*" = "$agent/refs/heads $agent/refs/heads/*" ]
}

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

# The usual answer has HEAD's branch among the branches; a HEAD without one is asked for.
find_tip() {
  patience=5
  theirs for-each-ref --count=100 --format='%(HEAD)%(objectname) %(tree)' refs/heads refs/stash >"$spare/their-refs"
  case $? in
    0) ;;
    124) theirs() { false; } ;; # a pipe in place of a file, say: not asked again
    *) theirs for-each-ref --count=100 --format='%(HEAD)%(objectname)' refs/heads refs/stash >"$spare/their-refs" ;;
  esac
  patience=30
  tip= tip_tree=
  while read -r oid oid_tree; do
    case $oid in \\**) tip=${oid#\\*} tip_tree=$oid_tree ;; esac
  done <"$spare/their-refs"
  [ "$tip" ] || tip=$(theirs rev-parse --verify -q 'HEAD^{commit}')
  [ "$tip" != "$start" ] || tip_tree=$start_tree
}

patience=30 tip=$start tip_tree=$start_tree touched=
if ! untouched; then
  touched=yes
  find_tip
fi
set -f

# What is staged by force counts, though it is ignored. An index that is as it was written holds nothing of the kind.
staged=
if [ -f "$agent/index" ]; then cmp -s "$agent/index" "$spare/index" || staged=yes; fi

read_tip() { [ "$tip" = "$indexed" ] || git read-tree -m "$tip" || git read-tree "$tip"; }
stage() { git add -A --ignore-errors 2>"$spare/errors"; [ $? -le 1 ] || exit 98; }
sure() {
  is_commit "$tip" || tip=$(by_hand)
  is_commit "$tip" || tip=$start
  tip_tree=$(git rev-parse "$tip^{tree}")
}

[ "$tip" = "$start" ] || case $tip_tree in '' | *[!0-9a-f]*) sure ;; esac
: >"$spare/errors"
if read_tip || { sure; read_tip; }; then
  stage
  if [ -s "$spare/errors" ]; then chmod -R u+rwX . ; stage; cat "$spare/errors"; fi
  if [ "$staged" ]; then
    theirs diff-index --cached --name-only --diff-filter=A -z HEAD >"$spare/forced"
    [ ! -s "$spare/forced" ] || git update-index --add --remove -z --stdin <"$spare/forced"
  fi
  made=$(git write-tree) || exit 98
else
  made=$tip_tree # paths that git refuses: the import will say which, and keep the commits
fi

parents=
if [ -f "$agent/MERGE_HEAD" ]; then
  for oid in $(head -c 4096 "$agent/MERGE_HEAD"); do
    if is_commit "$oid" && ! git merge-base --is-ancestor "$oid" "$tip"; then parents="$parents -p $oid"; fi
  done
fi
committed=no
if [ "$made" != "$tip_tree" ] || [ "$parents" ]; then
  tip=$(git commit-tree "$made" -p "$tip" $parents -m "$message") || exit 98
  committed=yes
elif [ "$touched" ] && [ "$tip" = "$start" ]; then
  moved=$(theirs rev-parse --verify -q "refs/heads/$branch^{commit}")
  if is_commit "$moved"; then tip=$moved; fi
fi

# Commits on other branches, and what is stashed, are kept as well, though nobody asked for them.
others=
count=0
if [ "$touched" ]; then
  while read -r oid oid_tree; do
    oid=${oid#\\*}
    case " $start $merge $tip $others " in *" $oid "*) continue ;; esac
    [ $count -lt 32 ] && is_commit "$oid" || continue
    [ "$(git rev-list --max-count=1 "$oid" --not "$tip" "$start" ${merge:+"$merge"})" ] || continue
    count=$((count + 1)) others="$others $oid"
  done <"$spare/their-refs"
fi

exec 1>&3
echo "tip $tip"
echo "committed $committed"
for oid in $others; do echo "other $oid"; done
if [ -s "$spare/errors" ]; then
  sed -n "s/^error: '\\(.*\\)' does not have a commit checked out$/skipped \\1/p" "$spare/errors" | head -n 20
fi
echo
[ "$tip$others" != "$start" ] || exit 0
{
  echo "$tip"
  for oid in $others; do echo "$oid"; done
  echo "^$start"
  [ -z "$merge" ] || echo "^$merge"
} >"$spare/wanted"
exec git pack-objects --revs --thin --stdout --delta-base-offset --non-empty -q <"$spare/wanted" 3>&-
"""
