#!/bin/bash
# Start a private SLURM cluster on loopback, without systemd, as root; safe to repeat.
#
#   SLURM_STATE=DIR NODES=2 CPUS=2 MEMORY=4000 tools/slurm_start.sh     then  . DIR/env.sh
#
# One munged, one slurmctld and NODES slurmds on this host. Memory limits are the kernel's (cgroup v1)
# where it lets us, else SLURM's own accounting ends jobs that take too much.
set -euo pipefail
state=${SLURM_STATE:-/tmp/voxelmill-slurm}
nodes=${NODES:-2} cpus=${CPUS:-2} memory=${MEMORY:-4000}
control_port=${CONTROL_PORT:-16817} node_port=${NODE_PORT:-16820}
say() { echo "[slurm] $*"; }
stop() { echo "[slurm] ERROR: $*" >&2; exit 1; }
alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2> /dev/null; }

[ "$(id -u)" = 0 ] || stop "starting a cluster needs root"
PATH=$PATH:/usr/sbin:/sbin
if ! command -v slurmctld > /dev/null || ! command -v munged > /dev/null; then
    command -v apt-get > /dev/null || stop "no slurmctld and no apt-get on this machine"
    say "installing slurm-wlm and munge"
    # Without systemd the packages must not try to start their services.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' > $policy; chmod 755 $policy; trap 'rm -f $policy' EXIT; fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || stop "apt-get update failed"
    apt-get install -y -qq --no-install-recommends slurm-wlm munge > /dev/null || stop "slurm-wlm could not be installed"
fi

mkdir -p "$state"/{etc,run,log,ctld,spool}
chmod 755 "$state"
host=$(hostname -s)
if mkdir /sys/fs/cgroup/memory/voxelmill-probe.$$ 2> /dev/null; then
    rmdir /sys/fs/cgroup/memory/voxelmill-probe.$$
    track=proctrack/cgroup task=task/cgroup gather=
else
    track=proctrack/linuxproc task=task/none gather=JobAcctGatherParams=OverMemoryKill
fi
cat > "$state/etc/cgroup.conf" <<END
CgroupPlugin=cgroup/v1
CgroupAutomount=no
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
END
{
    cat <<END
ClusterName=voxelmill
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$control_port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$state/run/munge.socket
CredType=cred/munge
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/spool/%n
SlurmctldPidFile=$state/run/slurmctld.pid
SlurmdPidFile=$state/run/slurmd-%n.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd-%n.log
ProctrackType=$track
TaskPlugin=$task
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
$gather
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=200
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
SlurmdTimeout=10
SlurmctldTimeout=10
KillWait=5
MaxArraySize=1001
END
    for i in $(seq "$nodes"); do
        echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((node_port + i)) CPUs=$cpus RealMemory=$memory State=UNKNOWN"
    done
    echo "PartitionName=debug Nodes=n[1-$nodes] Default=YES MaxTime=INFINITE State=UP"
    echo "PartitionName=other Nodes=n[1-$nodes] MaxTime=INFINITE State=UP"
} > "$state/etc/slurm.conf"
export SLURM_CONF=$state/etc/slurm.conf
echo "export SLURM_CONF=$SLURM_CONF" > "$state/env.sh"

if ! alive "$state/run/munged.pid"; then
    [ -s "$state/etc/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom > "$state/etc/munge.key")
    rm -f "$state/run/munge.socket"*
    munged --force --key-file="$state/etc/munge.key" --socket="$state/run/munge.socket" --num-threads=2 \
        --pid-file="$state/run/munged.pid" --log-file="$state/log/munged.log" --seed-file="$state/run/munged.seed"
fi
if ! alive "$state/run/slurmctld.pid"; then
    slurmctld -f "$SLURM_CONF"
    for _ in $(seq 50); do scontrol ping 2> /dev/null | grep -q UP && break; sleep .2; done
fi
for i in $(seq "$nodes"); do
    mkdir -p "$state/spool/n$i"
    alive "$state/run/slurmd-n$i.pid" || slurmd -f "$SLURM_CONF" -N "n$i"
done
up() { sinfo -h -N -p debug -t idle,mix,alloc -o %N | wc -l; }
for _ in $(seq 100); do [ "$(up)" -ge "$nodes" ] && break; sleep .2; done
[ "$(up)" -ge "$nodes" ] || { tail -n 5 "$state"/log/*.log >&2; stop "not all nodes came up"; }
srun -n1 -t1 true || stop "the cluster does not run a job"
say "$nodes nodes are up; memory limits by ${track#*/}; now: . $state/env.sh"
