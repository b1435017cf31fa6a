#!/bin/sh
# A handler in the shell: a process for each job. It needs jq.
#
#   bgjob-worker --dbname shop --queue files --concurrency 2 --name files-1 -- ./checksum.sh
#   SELECT bgjob_enqueue('checksum', '{"file": "/srv/upload/7.pdf"}', kind => 'external', queue => 'files', timeout => '10 min');
#
# The arguments are on standard input, the result goes to standard output, and lines of the job's log to file descriptor 3. What is
# written to standard error is in the log, too; if the job fails, its end is the message.
# A time-out ends sha256sum as well, since it is in the process group of this script.
set -eu
readonly EX_DATAERR=65 EX_UNAVAILABLE=69 EX_TEMPFAIL=75

give_up()
{
	printf '%s\n' "$2" >&2
	exit "$1"
}

[ "$BGJOB_JOB" = checksum ] || give_up $EX_UNAVAILABLE "there is no job $BGJOB_JOB here"
file=$(jq -er '.file | strings') || give_up $EX_DATAERR 'the argument "file" is missing'
[ -f "$file" ] || give_up $EX_DATAERR "there is no file $file"

printf 'attempt %s: reading %s\n' "$BGJOB_ATTEMPT" "$file" >&"$BGJOB_FD"
sum=$(sha256sum <"$file") || give_up $EX_TEMPFAIL "cannot read $file at present"
jq -cn --arg sum "${sum%% *}" --arg file "$file" '{file: $file, sha256: $sum}'
