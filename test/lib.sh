# shellcheck shell=bash disable=SC2016
# Sourced by test/all, test/demo, test/bench/run and .ci/run: packages, a build of
# this tree outside of it, private servers that use the build, and their removal.
#
# Everything is made in one folder under /tmp; the trap stops what runs there
# and removes it, however the script ends.  A build is not installed into the
# system: the private servers look for the extension in that folder first.
# Servers listen on a Unix socket only, so that none is in another one's way.

set -euo pipefail
umask 022
export LC_ALL=C.UTF-8
unset LANGUAGE CDPATH DESTDIR MAKEFLAGS MFLAGS MAKELEVEL PGXS USE_PGXS TEMP_CONFIG
unset "${!PG@}"

source_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
supported_majors="18 17 16 15"
workspace=
pg_major=
pg_bindir=
server_dir=
apt_is_fresh=
cluster_conf=/etc/postgresql-common/createcluster.conf
cluster_conf_is_ours=

say()
{
	printf '%s\n' "$*" >&2
}

die()
{
	say "$(basename "$0"): $*"
	exit 1
}

# --- the end, however it comes --------------------------------------------

clean_up()
{
	local status=$?
	trap '' INT TERM HUP
	set +e
	cd /
	return_cluster_conf
	if [ -n "$workspace" ] && [ -d "$workspace" ]; then
		stop_servers
		rm -rf "$workspace"
	fi
	exit "$status"
}

trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- packages -------------------------------------------------------------

as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

is_installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

apt_refresh()
{
	[ -z "$apt_is_fresh" ] || return 0
	command -v apt-get >/dev/null || die "needs Debian or Ubuntu: there is no apt-get here"
	as_root true || die "some packages are missing: run it as root, or as a user with sudo"
	say "Reading the package lists ..."
	run_quietly as_root apt-get -q update || say "apt-get update failed; going on with the lists at hand"
	apt_is_fresh=yes
}

apt_offers()
{
	[ -n "$(apt-cache show --no-all-versions "$1" 2>/dev/null)" ]
}

# Its output is shown only when it fails.
run_quietly()
{
	local log
	log=$(mktemp "$workspace/log.XXXXXX")
	if "$@" >"$log" 2>&1 </dev/null; then
		rm -f "$log"
	else
		cat "$log" >&2
		rm -f "$log"
		return 1
	fi
}

# Installing a server makes and starts a cluster unless told not to.
hold_cluster_conf()
{
	cluster_conf_is_ours=yes
	if [ -e "$cluster_conf" ]; then
		as_root cp -p "$cluster_conf" "$cluster_conf.provconn-saved"
	else
		as_root mkdir -p "${cluster_conf%/*}"
	fi
	echo 'create_main_cluster = false' | as_root tee -a "$cluster_conf" >/dev/null
}

# As it was, or as postgresql-common would have made it.
return_cluster_conf()
{
	local template=/usr/share/postgresql-common/createcluster.conf
	[ -n "$cluster_conf_is_ours" ] || return 0
	cluster_conf_is_ours=
	if [ -e "$cluster_conf.provconn-saved" ]; then
		as_root mv -f "$cluster_conf.provconn-saved" "$cluster_conf"
	elif [ -e "$template" ]; then
		as_root cp "$template" "$cluster_conf"
		as_root rm -f "$cluster_conf.ucf-dist" "$cluster_conf.ucf-new"
	else
		as_root rm -f "$cluster_conf"
		as_root rmdir --ignore-fail-on-non-empty "${cluster_conf%/*}"
	fi
}

install_packages()
{
	local package missing=()
	for package; do
		is_installed "$package" || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	apt_refresh
	say "Installing ${missing[*]} ..."
	case " ${missing[*]} " in
		*" postgresql-$pg_major "*) hold_cluster_conf ;;
	esac
	run_quietly as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
		apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends \
		"${missing[@]}" || die "could not install ${missing[*]}"
	return_cluster_conf
}

# --- which PostgreSQL -----------------------------------------------------

has_server()
{
	[ -x "/usr/lib/postgresql/$1/bin/postgres" ]
}

# PROVCONN_PG, else the newest that is ready, else the newest server here, else
# the newest to be had.
choose_major()
{
	local major
	if [ -n "${PROVCONN_PG-}" ]; then
		case " $supported_majors " in
			*" $PROVCONN_PG "*) pg_major=$PROVCONN_PG ;;
			*) die "PROVCONN_PG is '$PROVCONN_PG'; provconn needs PostgreSQL 15, 16, 17 or 18" ;;
		esac
		return
	fi
	for major in $supported_majors; do
		if has_server "$major" && is_installed "postgresql-server-dev-$major"; then
			pg_major=$major
			return
		fi
	done
	for major in $supported_majors; do
		if has_server "$major"; then
			pg_major=$major
			return
		fi
	done
	apt_refresh
	for major in $supported_majors; do
		if apt_offers "postgresql-$major" && apt_offers "postgresql-server-dev-$major"; then
			pg_major=$major
			return
		fi
	done
	die "this system's packages have no PostgreSQL 15, 16, 17 or 18;" \
		"see https://wiki.postgresql.org/wiki/Apt for a repository that has"
}

# prepare PACKAGE...: a workspace, PostgreSQL, what builds us, and the packages
# named ("%" stands for PostgreSQL's major version).
prepare()
{
	# Socket paths are limited in length: not in TMPDIR.
	workspace=$(mktemp -d /tmp/provconn.XXXXXX)
	chmod 0755 "$workspace"
	choose_major
	install_packages "postgresql-$pg_major" "postgresql-server-dev-$pg_major" \
		gcc libc6-dev make openssl "${@//%/$pg_major}"
	pg_bindir=/usr/lib/postgresql/$pg_major/bin
}

# --- the build ------------------------------------------------------------

copy_source()
{
	mkdir "$workspace/build"
	tar -C "$source_root" --create --file - --exclude-vcs --anchored \
		--exclude='*.o' --exclude='*.d' --exclude='*.bc' --exclude='*.so' \
		--exclude='./provconn--*.sql' --exclude='./results' --exclude='./output_iso' \
		--exclude='./tmp_check' --exclude='./tmp_check_iso' . |
		tar -C "$workspace/build" --extract --file - --no-same-owner
	chmod -R a+rX "$workspace/build"
}

# build [MAKE-ARGUMENT...]
build()
{
	say "Building provconn for PostgreSQL $pg_major ..."
	copy_source
	run_quietly make_build -j"$(nproc)" all "$@" || die "the build failed"
	run_quietly make_build install DESTDIR="$workspace/dest" "$@" || die "make install failed"
}

make_build()
{
	make -C "$workspace/build" PG_CONFIG="$pg_bindir/pg_config" "$@"
}

# --- private servers ------------------------------------------------------

# Servers do not run as root; what runs as postgres has none of our home.
as_server_user()
{
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid=postgres --regid=postgres --init-groups \
			env HOME="$workspace" USER=postgres LOGNAME=postgres "$@"
	else
		"$@"
	fi
}

# server_folder NAME: a folder that only the servers' user can enter.
server_folder()
{
	mkdir -m 0700 "$workspace/$1"
	[ "$(id -u)" != 0 ] || chown postgres:postgres "$workspace/$1"
}

# The settings by which a server finds the build.
extension_settings()
{
	local share lib
	share=$("$pg_bindir/pg_config" --sharedir)
	lib=$("$pg_bindir/pg_config" --pkglibdir)
	if grep -q '^#*extension_destdir' "$share/postgresql.conf.sample"; then
		echo "extension_destdir = '$workspace/dest'"
	else
		echo "extension_control_path = '$workspace/dest$share:\$system'"
	fi
	echo "dynamic_library_path = '$workspace/dest$lib:\$libdir'"
}

make_key_file()
{
	as_server_user sh -c 'umask 077; openssl rand -hex 32 >"$1"' sh "$1"
}

# start_server NAME [SETTING-LINE...]: makes and starts a server and points psql
# and its like to it; the lines given go to the end of its configuration.
start_server()
{
	server_dir=$workspace/$1
	shift
	server_folder "${server_dir##*/}"
	cd "$workspace"
	run_quietly as_server_user "$pg_bindir/initdb" --no-sync --username=postgres --auth=trust \
		--encoding=UTF8 --locale=C.UTF-8 --pgdata="$server_dir/data" || die "initdb failed"
	make_key_file "$server_dir/key"
	{
		extension_settings
		cat <<-SETTINGS
			provconn.key_file = '$server_dir/key'
			listen_addresses = ''
			unix_socket_directories = '$server_dir'
			port = 5432
			fsync = off
		SETTINGS
		printf '%s\n' "$@"
	} | as_server_user tee -a "$server_dir/data/postgresql.conf" >/dev/null
	as_server_user "$pg_bindir/pg_ctl" --silent --wait --timeout=120 --pgdata="$server_dir/data" \
		--log="$server_dir/log" start || { cat "$server_dir/log" >&2; die "the private server did not start"; }
	export PGHOST=$server_dir PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	export PSQL_HISTORY=$workspace/psql_history PSQL_PAGER=
	export PATH="$pg_bindir:$PATH"
}

# What the last server's log tells of crashes.
show_crashes()
{
	grep -E 'PANIC:|TRAP:|terminated by signal' "$server_dir/log" || true
}

# Every server whose data lies in the workspace, also those that tests made.
stop_servers()
{
	local pid_file
	while IFS= read -r pid_file; do
		as_server_user "$pg_bindir/pg_ctl" --silent --mode=immediate --pgdata="${pid_file%/*}" stop \
			>/dev/null 2>&1
	done < <(find "$workspace" -name postmaster.pid 2>/dev/null)
	return 0
}
