#!/bin/bash
# End the cluster that slurm_start.sh started, by the ids in its pid files.
state=${SLURM_STATE:-/tmp/voxelmill-slurm}
export SLURM_CONF=$state/etc/slurm.conf
squeue -h -o %A 2> /dev/null | sort -u | xargs -r scancel 2> /dev/null
for _ in $(seq 30); do [ -z "$(squeue -h 2> /dev/null)" ] && break; sleep .2; done
for file in "$state"/run/slurmd-*.pid "$state"/run/slurmctld.pid "$state"/run/munged.pid; do
    [ -s "$file" ] || continue
    id=$(cat "$file")
    kill "$id" 2> /dev/null
    for _ in $(seq 50); do kill -0 "$id" 2> /dev/null || break; sleep .1; done
    rm -f "$file"
done
