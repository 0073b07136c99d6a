process ESTIMATE_TILES {
    label 'process_single'

    input:
    path tiles
    val flags

    output:
    path 'sizes.txt', emit: sizes
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    estimate_tiles.py ${flags} --tiles ${tiles} --sizes sizes.txt
    """

    stub:
    """
    stub.sh sizes.txt estimate_tiles.provenance.json
    """
}
