process EXPORT_NIFTI {
    tag "${name}"
    label 'process_single'

    input:
    tuple val(folder), val(name), path(volume), path(volume_manifest)
    val flags

    output:
    path "published/${folder}/${name}.nii.gz", emit: nifti
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    export_nifti.py ${flags} --volume ${volume} --name ${name} --output published/${folder}/${name}.nii.gz
    """

    stub:
    """
    stub.sh published/${folder}/${name}.nii.gz export_nifti.${name}.provenance.json
    """
}
