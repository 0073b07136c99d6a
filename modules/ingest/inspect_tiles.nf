process INSPECT_TILES {
    label 'process_single'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    path(positions, stageAs: 'positions/*')
    val flags

    output:
    path 'tiles.json', emit: tiles
    path 'sections.csv', emit: sections
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    inspect_tiles.py ${flags} --source ${source} ${positions ? "--positions ${positions}" : ''} --tiles tiles.json --section_list sections.csv
    """

    stub:
    """
    stub.sh tiles.json 'sections.csv=id,block\\n0-0,0-0' inspect_tiles.provenance.json
    """
}
