# Stops a server and removes its files when its last user has ended.
#
# Users hold the FIFO "users" open for writing; the kernel closes it for a process that dies, and the end of file on
# descriptor 3 tells that the last one is gone. A shell does this because it is on every system: re-executing the test
# binary would need a hook in it.
#
# No other process may hold descriptor 3: a FIFO without a reader is how the next user sees that its watchdog was killed.
#
# $1 mode: start or adopt   $2 the server's directory   $3 directory of the binaries   $4 seconds to linger
# The programs of the system come first: PATH may lead to a test's substitutes.
PATH=/usr/bin:/bin:$PATH
mode=$1 dir=$2 bin=$3 linger=$4

# Opens the FIFO for reading without waiting for a writer: while it is open for both on 4, there is one.
listen() {
	exec 4<>"$dir/users" 3<"$dir/users" 4>&-
}

serve() {
	"$bin/postgres" -D "$dir/data" >"$dir/log" 2>&1 </dev/null
	: >"$dir/exited"
}

# Reads until the end of file. Each user writes a line when it joins: true if anybody did since the last end of file.
joined() {
	any=1
	while read -r _; do any=0; done
	return $any
}

# The file "kept" has the second until which the server stays without users.
kept() {
	read -r until <"$dir/kept" && [ "$(date +%s)" -lt "$until" ]
}

stop() {
	if [ -x "$bin/pg_ctl" ]; then
		"$bin/pg_ctl" -D "$dir/data" -m immediate stop
	else # the binaries were removed meanwhile
		read -r pid <"$dir/data/postmaster.pid" && kill -QUIT "$pid"
		return 1 # "exited" tells
	fi
}

# The starter may have begun to write, such as by initdb, and may still write for a moment. Every loop here has a bound, and
# ends where there is no pause: a shell without "sleep" must not spin.
discard() {
	for second in $minute; do
		rm -rf "$dir" && [ ! -e "$dir" ] && return
		sleep 1 || return
	done
}

minute='1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30'
minute="$minute $minute"

watch() {
	if [ "$mode" = start ]; then
		# Descriptor 3 is a pipe from the starter, who makes the directory meanwhile. End of file: it died or gave up.
		if ! read -r _ <&3; then
			discard
			return
		fi
		listen
		serve 3<&- &
	fi
	while joined <&3 || kept 3<&-; do
		sleep "$linger" 3<&- || break
	done
	# A later user finds no FIFO and starts another server; one that came just before keeps this one.
	mv "$dir/users" "$dir/closed"
	joined <&3
	# A server that has only just been started has no pid file yet.
	# One whose files were removed ends by itself: it checks its lock file once a minute.
	for second in $minute $minute $minute; do
		stop || [ -e "$dir/exited" ] || [ ! -d "$dir/data" ] || [ "$mode" = adopt ] && break
		sleep 1 || break
	done 3<&-
	[ -e "$dir/exited" ] || [ "$mode" = adopt ] || wait
	discard
}

trap '' HUP INT TERM
if [ "$mode" = adopt ]; then
	if [ ! -p "$dir/users" ]; then # it was killed before it had made that
		discard </dev/null >/dev/null 2>&1 &
		exit
	fi
	listen
fi
watch </dev/null >/dev/null 2>&1 &
