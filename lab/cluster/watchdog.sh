# Waits for the end of standard input, which is when the program that runs the cluster is gone or wants it gone, and then ends
# all processes of the cluster and removes its directory. A process belongs to the cluster if it works in its directory.
#
# $1 the directory   $2 the table of nftables that partitions nodes   $3 true: the directory stays   $4 nft, if there is one
dir=$1 table=$2 keep=$3 nft=$4
trap '' HUP INT TERM PIPE

# members prints the ids of the processes that work below the directory; with an argument, of those that do not work in data
# directories, whose processes are PostgreSQL's. One ls for all: a fork for each takes seconds on a busy machine.
members() {
	ls -ld /proc/[0-9]*/cwd 2>/dev/null | sed -n 's,^.* /proc/\([0-9]*\)/cwd -> \(.*\)$,\1 \2,p' | while read -r pid cwd; do
		case $cwd in
		"$dir"/*/data*) [ -n "${1-}" ] || echo "$pid" ;;
		"$dir" | "$dir"/*) echo "$pid" ;;
		esac
	done
}

# servers prints the ids of the postmasters that run.
servers() {
	for file in "$dir"/*/data/postmaster.pid; do
		read -r pid <"$file" || continue
		case $(readlink "/proc/$pid/cwd") in
		"$dir"/*) echo "$pid" ;;
		esac
	done 2>/dev/null
}

tell() { # SIGNAL IDS...
	signal=$1
	shift
	[ $# = 0 ] || kill -s "$signal" "$@" 2>/dev/null
}

cat >/dev/null
[ -z "$nft" ] || "$nft" delete table inet "$table" 2>/dev/null

# Patroni would start again what ends. A postmaster that ends at once (QUIT) gives its shared memory back, a killed one does not.
tell KILL $(members others)
tell QUIT $(servers)
tell CONT $(members)
tries=0
while left=$(members) && [ -n "$left" ]; do
	tries=$((tries + 1))
	if [ $tries -gt 100 ]; then
		tell KILL $left
	elif [ $((tries % 20)) = 0 ]; then # one that had not written its file when we looked
		tell QUIT $(servers)
	fi
	if [ $tries -gt 200 ]; then
		echo "processes do not end: $left" >&2
		exit 1
	fi
	sleep 0.05
done

# The file stays if the server was killed; its seventh line names the segment that it used to be recognized by.
for file in "$dir"/*/data/postmaster.pid; do
	[ -e "$file" ] && ipcrm -m "$(sed -n '7s/.* //p' "$file")" 2>/dev/null
done
[ "$keep" = true ] || rm -rf "$dir"
