process ESTIMATE_SLICES {
    label 'process_single'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    path list
    val flags

    output:
    path 'sizes.txt', emit: sizes
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    estimate_slices.py ${flags} --source ${source} --list ${list} --sizes sizes.txt
    """

    stub:
    """
    stub.sh sizes.txt estimate_slices.provenance.json
    """
}
