process ESTIMATE {
    label 'process_single'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    val flags

    output:
    path 'sizes.txt', emit: sizes
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    estimate.py ${flags} ${source ? "--source ${source}" : ''} --sizes sizes.txt
    """

    stub:
    """
    stub.sh sizes.txt estimate.provenance.json
    """
}
