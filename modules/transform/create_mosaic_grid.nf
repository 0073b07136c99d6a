// Done again where files of the slice are others (`meta.files`), not where those of another slice are.
// A slice of which no tile can be read is left out: it has no outputs then.
process CREATE_MOSAIC_GRID {
    tag "${meta.id}"
    label 'process_medium'
    label 'gpu'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    tuple val(meta), path(tiles)
    val flags

    output:
    tuple val(meta), path("published/mosaic_grid_3d_${meta.id}.ome.zarr"), path("published/mosaic_grid_3d_${meta.id}.ome.zarr.manifest.json"), emit: volume, optional: true
    path "galvo_${meta.id}.json", emit: galvo, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    create_mosaic_grid.py ${flags} --source ${source} --tiles ${tiles} --slice ${meta.id} --output published/mosaic_grid_3d_${meta.id}.ome.zarr --galvo galvo_${meta.id}.json
    """

    stub:
    """
    stub.sh published/mosaic_grid_3d_${meta.id}.ome.zarr/ published/mosaic_grid_3d_${meta.id}.ome.zarr.manifest.json galvo_${meta.id}.json create_mosaic_grid.${meta.id}.provenance.json
    """
}
