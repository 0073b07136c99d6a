process PREPROCESS {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple path(volume), path(volume_manifest)
    path facts
    val meta
    val flags

    output:
    tuple val(meta), path('preprocessed.ome.zarr'), path('preprocessed.ome.zarr.manifest.json'), emit: volume
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    preprocess.py ${flags} --volume ${volume} --facts ${facts} --block ${meta.block} --output preprocessed.ome.zarr
    """

    stub:
    """
    stub.sh preprocessed.ome.zarr/ preprocessed.ome.zarr.manifest.json preprocess.provenance.json
    """
}
