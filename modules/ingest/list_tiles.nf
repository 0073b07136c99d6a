process LIST_TILES {
    label 'process_single'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    val flags

    output:
    path 'tiles.csv', emit: tiles
    path 'slices/*.csv', emit: of_slices
    path 'slices.csv', emit: slices
    path 'published/shifts_xy.csv', emit: tables
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    list_tiles.py ${flags} --source ${source} --tiles tiles.csv --of_slices slices --slice_list slices.csv --tables published
    """

    stub:
    """
    stub.sh tiles.csv slices/z07.csv 'slices.csv=id,slice\\nz07,7' published/shifts_xy.csv list_tiles.provenance.json
    """
}
