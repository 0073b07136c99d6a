process EXPORT_LABELS {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple path(supervoxels), path(supervoxels_manifest)
    path segments
    val meta
    val flags

    output:
    tuple val(meta), path('neurites.ome.zarr'), path('neurites.ome.zarr.manifest.json'), emit: volume
    path '*.provenance.json', emit: provenance

    script:
    """
    export_labels.py ${flags} --supervoxels ${supervoxels} --segments ${segments} --block ${meta.block} --output neurites.ome.zarr
    """

    stub:
    """
    stub.sh neurites.ome.zarr/ neurites.ome.zarr.manifest.json export_labels.provenance.json
    """
}
