#!/usr/bin/env bash
# A real Slurm of two nodes on one Debian machine: accounting, preemption and four pretend GPUs a node.
#
#   cluster.sh up | down | status | kill-node NODE | start-node NODE | kill-controller | start-controller
#              | hide FOLDER NODE | show FOLDER NODE
#
# Everything lives below ${LOCAL_SLURM_HOME:-/var/tmp/cosmos-slurm}; outside it `up` only adds a link,
# /etc/slurm/slurm.conf, and a line of /etc/hosts. `down` takes all three away.
set -euo pipefail

readonly STATE=${LOCAL_SLURM_HOME:-/var/tmp/cosmos-slurm}
readonly CONF=$STATE/slurm.conf
readonly LINK=/etc/slurm/slurm.conf
readonly CLUSTER=cosmos_local
readonly NODES=(node0 node1)
readonly DAEMONS=(munged mariadbd slurmdbd slurmctld "${NODES[@]}")
readonly HOST=${HOSTNAME%%.*}
readonly HOSTS_MARK="# cosmos-slurm"
# In the environment of every daemon: tells ours from anybody else's, whatever a stale pid file says.
readonly BRAND=LOCAL_SLURM_BRAND=$STATE
readonly DISKS=$STATE/disks

fail() {
    echo "cluster.sh: $*" >&2
    exit 1
}

await() { # await SECONDS WHAT COMMAND...
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || give_up "$what"
        sleep 0.2
    done
}

give_up() { # give_up WHAT
    tail -n 15 "$STATE"/log/*.log >&2 || true
    timeout 5 sinfo --Node --format="%N %T %E" >&2 || true
    fail "gave up waiting for $1; the ends of the logs in $STATE/log and the states of nodes are above."
}

require_root() {
    [[ $EUID == 0 ]] || fail "needs root, for slurmd starts jobs as any user: use sudo or a container."
}

require_packages() {
    local missing=() pair
    for pair in munged:munge mariadbd:mariadb-server slurmdbd:slurmdbd slurmctld:slurmctld slurmd:slurmd \
        srun:slurm-client; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || fail "needs Debian or Ubuntu: no apt-get to install ${missing[*]}."
    apt-get update --quiet=2
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}"
}

is_ours() { [[ -L $LINK && $(readlink "$LINK") == "$CONF" ]]; }

refuse_other_cluster() {
    is_ours || [[ ! -e $LINK && ! -L $LINK ]] ||
        fail "$LINK belongs to another cluster: use that one, or move the file away if it is a leftover."
}

# Below $DISKS, nodes see the disks that this machine mounts, and may have others of their own (nsenter).
share_disks() {
    mkdir -p "$DISKS"
    mountpoint --quiet "$DISKS" || { mount --bind "$DISKS" "$DISKS" && mount --make-shared "$DISKS"; }
}

write_config() {
    local index
    mkdir -p "$STATE"/{run,log,ctld,munge,gpu} "${NODES[@]/#/$STATE/spool/}" "$(dirname "$LINK")"
    chmod 755 "$STATE" "$STATE/munge"
    for index in 0 1 2 3; do # any character device counts as a GPU: these are /dev/null
        [[ -e $STATE/gpu/gpu$index ]] || mknod "$STATE/gpu/gpu$index" c 1 3
    done
    echo "NodeName=node[0-1] Name=gpu File=$STATE/gpu/gpu[0-3]" >"$STATE/gres.conf"
    slurm_conf >"$CONF"
    (umask 077 && slurmdbd_conf >"$STATE/slurmdbd.conf") # slurmdbd insists on mode 600
    ln -sfn "$CONF" "$LINK"
}

slurm_conf() {
    cat <<CONF
ClusterName=$CLUSTER
SlurmctldHost=$HOST(127.0.0.1)
SlurmUser=root
# All bind what the host's name means, which our line of /etc/hosts makes 127.0.0.1; only slurmdbd cannot be
# told and listens on every address (port 7003), where a credential of our munged is asked for.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort=7000
# A requeued job waits until the old credential has expired (120 s, unless told).
AuthInfo=socket=$STATE/munge/socket,cred_expire=10
StateSaveLocation=$STATE/ctld
SlurmdSpoolDir=$STATE/spool/%n
SlurmctldPidFile=$STATE/run/slurmctld.pid
SlurmdPidFile=$STATE/run/%n.pid
SlurmctldLogFile=$STATE/log/slurmctld.log
SlurmdLogFile=$STATE/log/%n.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
# Failures are noticed and jobs started within seconds, for tests wait on both.
SlurmdTimeout=20
ReturnToService=2
KillWait=10
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
# Nodes claim more than the machine has; what a job asks for is enforced by sampling.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=4000
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=7003
AccountingStoragePass=$STATE/munge/socket
AccountingStorageTRES=gres/gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
GresTypes=gpu
NodeName=node[0-1] NodeHostname=$HOST NodeAddr=127.0.0.1 Port=[7001-7002] CPUs=8 RealMemory=64000 Gres=gpu:4
PartitionName=DEFAULT Nodes=ALL DefaultTime=01:00:00 MaxTime=UNLIMITED OverSubscribe=NO
PartitionName=main Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=10
PartitionName=scavenge PriorityTier=1 PreemptMode=CANCEL
PartitionName=urgent PriorityTier=10
CONF
}

slurmdbd_conf() {
    cat <<CONF
DbdHost=$HOST
DbdAddr=127.0.0.1
DbdPort=7003
SlurmUser=root
AuthInfo=socket=$STATE/munge/socket
StorageType=accounting_storage/mysql
StorageUser=root
PidFile=$STATE/run/slurmdbd.pid
LogFile=$STATE/log/slurmdbd.log
CONF
}

# In place, never by renaming: in a container /etc/hosts is a mount.
edit_hosts() { # edit_hosts LINE, empty to remove ours
    local others
    others=$(grep -vF "$HOSTS_MARK" /etc/hosts || true)
    printf '%s' "${1:+$1$'\n'}$others"$'\n' >/etc/hosts
}

launch() {
    env "$BRAND" SLURM_CONF="$CONF" MYSQL_UNIX_PORT="$STATE/mysql/socket" "$@" </dev/null
}

own_mounts() { ! mountpoint --quiet "$DISKS" || echo unshare --mount --propagation slave; }

pid_of() { cat "$STATE/run/$1.pid" 2>/dev/null; }

alive() {
    local pid
    pid=$(pid_of "$1") && grep -qzxsF "$BRAND" "/proc/$pid/environ"
}

start() {
    alive "$1" && return
    case $1 in
        node*) launch $(own_mounts) slurmd -N "$1" || give_up "$1 to start" ;;
        slurm*) launch "$1" || give_up "$1 to start" ;;
        *) "start_$1" ;;
    esac
    await 20 "$1 to start" alive "$1"
}

start_munged() {
    [[ -s $STATE/munge/key ]] || (umask 077 && head -c 128 /dev/urandom >"$STATE/munge/key")
    launch munged --force --key-file="$STATE/munge/key" --socket="$STATE/munge/socket" \
        --seed-file="$STATE/munge/seed" --pid-file="$STATE/run/munged.pid" --log-file="$STATE/log/munged.log"
}

start_mariadbd() { # no port and no password: slurmdbd is root, and the socket tells mariadbd so
    local options=(--no-defaults --user=mysql --datadir="$STATE/mysql")
    [[ -d $STATE/mysql/mysql ]] ||
        mariadb-install-db "${options[@]}" --auth-root-authentication-method=socket \
            >"$STATE/log/mariadbd.log" 2>&1
    launch setsid --fork mariadbd "${options[@]}" --skip-networking --socket="$STATE/mysql/socket" \
        --pid-file="$STATE/mysql/pid" --innodb-lock-wait-timeout=900 >>"$STATE/log/mariadbd.log" 2>&1
    ln -sfn "$STATE/mysql/pid" "$STATE/run/mariadbd.pid" # only in its own folder may user mysql write
    await 30 "mariadbd to listen" test -S "$STATE/mysql/socket"
}

register_cluster() { # root comes with it as a user, and sacct shows the jobs of everybody else too
    await 30 "slurmdbd to answer" sacctmgr --noheader list cluster
    [[ -n $(sacctmgr --noheader list cluster "$CLUSTER") ]] || sacctmgr --immediate add cluster "$CLUSTER"
}

usable() { # usable NODE...
    [[ $(sinfo --noheader --partition=main --nodes="$(IFS=, && echo "$*")" --Node --format=%T |
        grep -cxE '(idle|mixed|allocated|completing|planned)[-+]?') == "$#" ]]
}

stop() {
    local pid deadline=$((SECONDS + 10))
    alive "$1" || return 0
    pid=$(pid_of "$1")
    kill "$pid"
    while alive "$1" && ((SECONDS < deadline)); do sleep 0.1; done
    ! alive "$1" || kill -KILL "$pid"
}

# What jobs left on a node without slurmd: slurmstepd wipes its environment, but writes the node's log.
end_strays() { # end_strays NODE
    end_processes < <(
        grep -lzxsF "SLURMD_NODENAME=$1" /proc/[0-9]*/environ
        find /proc/[0-9]*/fd -perm -u+w -lname "$STATE/log/$1.log" 2>/dev/null
    )
}

end_processes() { # paths below /proc on standard input
    local pid
    while IFS=/ read -r _ _ pid _; do kill -KILL "$pid" 2>/dev/null || true; done
}

up() {
    local name
    require_root
    refuse_other_cluster
    require_packages
    if (status >/dev/null 2>&1); then
        echo "Slurm is running already."
    else
        write_config
        ! unshare --mount true 2>/dev/null || share_disks
        edit_hosts "127.0.0.1 ${NODES[*]} $HOST $HOSTS_MARK"
        for name in munged mariadbd slurmdbd; do start "$name"; done
        register_cluster >>"$STATE/log/slurmdbd.log"
        for name in slurmctld "${NODES[@]}"; do start "$name"; done
    fi
    await 30 "both nodes to be usable" usable "${NODES[@]}"
    sinfo
    echo "Try: srun -N2 -n4 hostname"
}

cancel_jobs() {
    alive slurmctld || return 0
    timeout 10 squeue --noheader --states=running --format=%A |
        xargs --no-run-if-empty scancel --full --signal=KILL
    for _ in {1..25}; do
        [[ -n $(timeout 10 squeue --noheader --states=running,completing) ]] || return 0
        sleep 0.2
    done
}

down() {
    local name
    require_root
    ! is_ours || cancel_jobs || true # a wedged controller must not keep us up
    for name in "${NODES[@]}" slurmctld slurmdbd mariadbd munged; do stop "$name"; done
    for name in "${NODES[@]}"; do end_strays "$name"; done
    end_processes < <(grep -lzxsF "$BRAND" /proc/[0-9]*/environ) # daemons that have lost their pid file
    ! is_ours || rm "$LINK"
    ! grep -qF "$HOSTS_MARK" /etc/hosts || edit_hosts ""
    ! mountpoint --quiet "$DISKS" || umount --recursive --lazy "$DISKS"
    [[ ! -f $CONF ]] || rm -rf --one-file-system "$STATE" # only a folder that we made holds our slurm.conf
    echo "Slurm is down."
}

status() {
    local name
    for name in "${DAEMONS[@]}"; do
        alive "$name" || fail "$name does not run: run 'up'."
        echo "$name runs as process $(pid_of "$name")"
    done
    sinfo
}

kill_node() {
    alive "$1" || fail "$1 does not run: start it with 'start-node $1'."
    kill -KILL "$(pid_of "$1")"
}

start_node() {
    alive slurmctld || fail "Slurm is down: run 'up'."
    # A node that was given up comes back empty: a requeued job must not meet its own stray processes there.
    ! sinfo --noheader --nodes="$1" --format=%T | grep -q down || end_strays "$1"
    start "$1"
    await 30 "$1 to be usable" usable "$1"
}

hide() { # hide FOLDER NODE: the node has an empty, small disk in its place
    mountpoint --quiet "$DISKS" || fail "this machine lets nobody mount disks, so nodes have none of their own."
    on_node "$2" mount -t tmpfs -o size=64k tmpfs "$1"
}

show() { on_node "$2" umount "$1"; } # show FOLDER NODE

on_node() { nsenter --mount --target "$(pid_of "$1")" "${@:2}"; }

kill_controller() {
    alive slurmctld || fail "slurmctld does not run: start it with 'start-controller'."
    kill -KILL "$(pid_of slurmctld)"
}

start_controller() {
    start slurmctld
    await 60 "slurmctld to answer" scontrol ping
    await 60 "both nodes to be usable" usable "${NODES[@]}"
}

case ${1:-} in
    up | down | status) "$1" ;;
    kill-controller | start-controller) "${1/-/_}" ;;
    hide | show) "$@" ;;
    kill-node | start-node)
        [[ " ${NODES[*]} " == *" ${2:-} "* ]] || fail "no node '${2:-}': name one of ${NODES[*]}."
        "${1/-/_}" "$2"
        ;;
    *) fail "usage: cluster.sh up | down | status | {kill,start}-node NODE | {kill,start}-controller | {hide,show} FOLDER NODE" ;;
esac
