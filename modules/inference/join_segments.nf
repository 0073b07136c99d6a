process JOIN_SEGMENTS {
    label 'process_single'

    input:
    tuple val(blocks), path(borders, stageAs: 'border?.npz')

    output:
    path 'joined/*.npz', emit: joined
    path '*.provenance.json', emit: provenance

    script:
    """
    join_segments.py --blocks ${blocks.join(' ')} --borders ${borders.join(' ')} --joined joined
    """

    stub:
    """
    stub.sh ${blocks.collect { block -> "joined/${block}.npz" }.join(' ')} join_segments.provenance.json
    """
}
