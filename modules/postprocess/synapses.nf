process SYNAPSES {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple path(volume), path(volume_manifest)
    tuple path(labels), path(labels_manifest)
    tuple path(supervoxels), path(supervoxels_manifest)
    val meta
    tuple path(model), val(model_fingerprint)
    val flags

    output:
    tuple val(meta), path('candidates.parquet'), emit: candidates
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    synapses.py ${flags} --volume ${volume} --labels ${labels} --supervoxels ${supervoxels} --block ${meta.block} ${model ? "--model ${model}" : ''} --candidates candidates.parquet
    """

    stub:
    """
    stub.sh candidates.parquet synapses.provenance.json
    """
}
