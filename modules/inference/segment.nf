process SEGMENT {
    tag "${meta.block}"
    label 'process_high'
    label 'per_block'

    input:
    tuple path(volume), path(volume_manifest)
    val meta
    tuple path(model), val(model_fingerprint)
    val flags

    output:
    tuple val(meta), path('supervoxels.ome.zarr'), path('supervoxels.ome.zarr.manifest.json'), emit: volume
    tuple val(meta), path('overlaps.npz'), emit: overlaps
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    segment.py ${flags} --volume ${volume} --block ${meta.block} ${model ? "--model ${model}" : ''} --output supervoxels.ome.zarr --overlaps overlaps.npz
    """

    stub:
    """
    stub.sh supervoxels.ome.zarr/ supervoxels.ome.zarr.manifest.json overlaps.npz segment.provenance.json
    """
}
