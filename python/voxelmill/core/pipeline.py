"""Parameters of the run as a whole: read by Nextflow, not by a stage."""

from __future__ import annotations

from typing import Literal

from .params import Params, param


class General(Params):
    """Input and output."""

    workflow: str = param("connectome", "What to run")  # those that main.nf includes
    outdir: str = param("results", "Folder for everything published; --output is another name of it")
    publish_dir_mode: Literal["copy", "link", "rellink", "symlink"] = param(
        "copy",
        "How results come from the work folder to --outdir",
        more="`link` (hard links) needs no second copy where both lie on one file system.",
    )
    help: bool = param(False, "Print all parameters and stop")


class Limits(Params):
    """CPU and memory limits. Tasks x processes x threads never exceed max_cpus - reserved_cpus."""

    enable_cpu_limits: bool = param(True, "Hold every thread pool (OMP, MKL, OpenBLAS, NumExpr, OpenCV, ITK) to its share")
    max_cpus: int = param(0, "CPUs the run may use on one machine; 0: all", ge=0, profiles={"minimal": 1})
    reserved_cpus: int = param(0, "CPUs left free", ge=0, profiles={"conservative": 1})
    processes: int = param(
        1,
        "Worker processes inside a task, for its shards, runs of sections, fields of view",
        ge=1,
        more="Each takes a CPU and the memory of a task of its own. Results have the same bytes for any number.",
    )
    max_memory: str = param("16.GB", "Most memory one task may ask for", pattern=r"^\d+(\.\d+)?\.?\s*[KMGT]?B$")
    max_time: str = param("48.h", "Most time one task may ask for", pattern=r"^\d+(\.\d+)?\.?\s*(s|m|h|d)$")
    max_retries: int = param(
        2,
        "How often a task that ran out of memory or time is tried again",
        ge=0,
        le=10,
        profiles={"conservative": 4, "aggressive": 1},
    )


class Forks(Params):
    """Tasks of one kind side by side."""

    max_mosaic_forks: int = param(4, "Most mosaic grids made at one time; each reads raw tiles from the same disk", ge=1)
    max_aip_forks: int = param(4, "Most averages over depth made at one time", ge=1)


class Cluster(Params):
    """SLURM (with `-profile slurm`) and containers."""

    queue: str = param("", "SLURM partition")
    account: str = param("", "SLURM account")
    cluster_options: str = param("", "Further sbatch options")
    array_size: int = param(20, "Tasks of one kind submitted as one job array; 0: none", ge=0)
    gpus: int = param(0, "GPUs that a task asks for where its stage can use one", ge=0)
    container: str = param("containers/voxelmill.sif", "Image for `-profile apptainer`")
