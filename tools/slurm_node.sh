#!/bin/bash
# slurm_node.sh crash NODE | start NODE: the loss of one node's power, and its return.
#
# A crash ends the node's slurmd, its slurmstepds and all processes of its jobs, by their ids.
set -u
state=${SLURM_STATE:-/tmp/voxelmill-slurm}
export SLURM_CONF=$state/etc/slurm.conf
PATH=$PATH:/usr/sbin:/sbin
node=$2
below() { for id in "$@"; do echo "$id"; below $(ps -o pid= --ppid "$id"); done; }
case $1 in
    crash)
        doomed=$(cat "$state/run/slurmd-$node.pid")
        # slurmstepd writes its job into its own command line; SLURM_CONF says that it is of this cluster.
        for job in $(squeue -h -t R -w "$node" -o %A); do
            for folder in /proc/[0-9]*; do
                tr '\0' ' ' 2> /dev/null < "$folder/cmdline" | grep -qF "slurmstepd: [$job." || continue
                grep -qzxF "SLURM_CONF=$SLURM_CONF" "$folder/environ" 2> /dev/null && doomed+=" ${folder#/proc/}"
            done
            doomed+=" $(find /sys/fs/cgroup/*/slurm_"$node"/uid_*/job_"$job" -name cgroup.procs -exec cat {} + 2> /dev/null)"
        done
        kill -9 $(below $doomed | sort -un) 2> /dev/null
        rm -f "$state/run/slurmd-$node.pid" ;;
    start)
        rm -rf "$state/spool/$node"
        mkdir -p "$state/spool/$node"
        slurmd -f "$SLURM_CONF" -N "$node"
        sleep 1
        scontrol update nodename="$node" state=resume 2> /dev/null ;;
esac
true
