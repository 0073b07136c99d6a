// Done again where files or places of tiles of its sections are others, not where those of other sections are.
process STITCH_TILES {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    tuple val(meta), path(mosaic)
    val flags

    output:
    tuple val(meta), path('mosaic.ome.zarr'), path('mosaic.ome.zarr.manifest.json'), emit: volume
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    stitch_tiles.py ${flags} --source ${source} --mosaic ${mosaic} --block ${meta.block} --output mosaic.ome.zarr
    """

    stub:
    """
    stub.sh mosaic.ome.zarr/ mosaic.ome.zarr.manifest.json stitch_tiles.${meta.block}.provenance.json
    """
}
