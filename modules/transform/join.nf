process JOIN {
    tag "${name}"
    label 'process_single'

    input:
    tuple val(name), path(stores, stageAs: 'block?/*'), path(manifests, stageAs: 'block?/*')
    val flags

    output:
    tuple path("${name}"), path("${name}.manifest.json"), emit: volume
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    join.py ${flags} --stores block*/${name} --name ${name.tokenize('.')[0]} --output ${name}
    """

    stub:
    """
    stub.sh ${name}/ ${name}.manifest.json join.${name}.provenance.json
    """
}
