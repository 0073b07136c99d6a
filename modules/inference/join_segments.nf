process JOIN_SEGMENTS {
    label 'process_single'

    input:
    tuple val(blocks), path(borders, stageAs: 'border?.npz')
    val flags

    output:
    path 'joined/*.npz', emit: joined
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    mkdir joined
    join_segments.py ${flags} --blocks ${blocks.join(' ')} --borders ${borders.join(' ')} --joined ${filesOf(blocks)}
    """

    stub:
    """
    stub.sh ${filesOf(blocks)} join_segments.provenance.json
    """
}

def filesOf(blocks) {
    return blocks.collect { block -> "joined/${block}.npz" }.join(' ')
}
