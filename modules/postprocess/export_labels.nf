process EXPORT_LABELS {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(meta), path(supervoxels), path(supervoxels_manifest), path(components), path(joined, stageAs: 'joined.npz')
    val flags

    output:
    tuple val(meta), path('neurites.ome.zarr'), path('neurites.ome.zarr.manifest.json'), emit: volume
    path 'published/tables/merge/*.parquet', emit: merge
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    export_labels.py ${flags} --supervoxels ${supervoxels} --components ${components} ${joined ? '--joined joined.npz' : ''} --block ${meta.block} --output neurites.ome.zarr --merge published/tables/merge
    """

    stub:
    """
    stub.sh neurites.ome.zarr/ neurites.ome.zarr.manifest.json published/tables/merge/z0000000.parquet export_labels.provenance.json
    """
}
