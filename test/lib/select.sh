# shellcheck shell=bash
# Which test files there are, and which of them the command line selects. A selection is the name of a group, or
# GROUP/BEGINNING-OF-A-NAME, where the folder of the group's files may stand for the group.
#
# To be sourced by check.sh and suite.sh. TREE is the source; the array SELECTIONS is empty for everything.

# In the order in which they run: the group that is a single long file early, since another file runs beside it.
GROUPS_ALL="unit gates plain regress isolation pgtap tap security"

# group_of WORD prints the group for the first part of a selection.
group_of()
{
	case $1 in
	sql) say regress ;;
	specs) say isolation ;;
	t) say tap ;;
	*) say "$1" ;;
	esac
}

# files_of GROUP prints the paths of the group's files. plain has none: it is a run of others' files.
files_of()
{
	local folder=$TREE/test/$1 pattern='*.pl'

	case $1 in
	unit) pattern='*.c' ;;
	gates) pattern='*.[ps][lh]' ;;
	regress) folder=$TREE/sql pattern='*.sql' ;;
	isolation) folder=$TREE/test/isolation/specs pattern='*.spec' ;;
	pgtap) pattern='*.sql' ;;
	tap) folder=$TREE/test/t ;;
	plain) return ;;
	esac
	find "$folder" -maxdepth 1 -type f -name "$pattern" | sort
}

# selected GROUP [NAME] succeeds if the command line selects it.
selected()
{
	local selection name

	[ "${#SELECTIONS[@]}" -gt 0 ] || return 0
	for selection in "${SELECTIONS[@]}"; do
		[ "$(group_of "${selection%%/*}")" = "$1" ] || continue
		[ -n "${2:-}" ] || return 0
		case $selection in
		*/*) name=${selection#*/} ;;
		*) return 0 ;;
		esac
		case $2 in "${name%.*}"*) return 0 ;; esac
	done
	return 1
}

# any_selected GROUP… succeeds if one of them is selected.
any_selected()
{
	local group

	for group in "$@"; do
		! selected "$group" || return 0
	done
	return 1
}

# names_of GROUP prints the names of its selected files, without folder and extension.
names_of()
{
	local path name

	while read -r path; do
		name=${path##*/}
		name=${name%.*}
		! selected "$1" "$name" || say "$name"
	done < <(files_of "$1")
}

# wrong_selection prints what is wrong with the first selection that selects nothing; fails if all select something.
wrong_selection()
{
	local selection group

	for selection in "${SELECTIONS[@]}"; do
		group=$(group_of "${selection%%/*}")
		case " $GROUPS_ALL " in
		*" $group "*) ;;
		*)
			say "there is no group \"${selection%%/*}\"; the groups: $GROUPS_ALL"
			return
			;;
		esac
		if [ "$selection" != "${selection%%/*}" ] && [ -z "$(SELECTIONS=("$selection") && names_of "$group")" ]; then
			say "no file of group $group begins with \"${selection#*/}\"; its files:"
			files_of "$group" | sed 's,.*/,  ,'
			return
		fi
	done
	return 1
}
