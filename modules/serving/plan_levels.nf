process PLAN_LEVELS {
    label 'process_single'

    input:
    tuple path(volume), path(volume_manifest)
    val flags

    output:
    path 'levels.csv', emit: blocks
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    plan_levels.py ${flags} --volume ${volume} --block_list levels.csv
    """

    stub:
    """
    stub.sh 'levels.csv=id,block\\n1.0-0,1.0-0\\n2.0-0,2.0-0' plan_levels.provenance.json
    """
}
