process PLACE_TILES {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    path tiles
    val meta
    val flags

    output:
    tuple val(meta), path('positions.csv'), path('seams.csv'), path('light.npz'), emit: placed
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    place_tiles.py ${flags} --source ${source} --tiles ${tiles} --block ${meta.block} --positions positions.csv --seams seams.csv --light light.npz
    """

    stub:
    """
    stub.sh positions.csv seams.csv light.npz place_tiles.${meta.block}.provenance.json
    """
}
